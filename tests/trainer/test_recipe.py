import doctest

import pytest

from collectives import InvalidArgument
from trainer import published, recipe, setting
from trainer.published import Published
from trainer.recipe import Recipe, adopt, flatten, vary

EVERY = [
    *recipe.names(),
    *(v for name in recipe.names() for v in recipe.variants(name)),
]


def test_recipes_are_found_by_their_files():
    assert {"goyal2017", "he2016"} <= set(recipe.names())


@pytest.mark.parametrize("name", EVERY)
def test_every_value_has_a_source(name):
    chosen = recipe.load(name)
    assert {path for path, _ in flatten(chosen)} == set(chosen.sources)
    assert set(chosen.sources.values()) <= set(recipe.PROVENANCES) - {"given"}


@pytest.mark.parametrize("name", recipe.names())
def test_the_docstring_names_the_paper(name):
    module = __import__(f"trainer.recipes.{name}", fromlist=["RECIPE"])
    assert "arXiv:" in module.__doc__


def test_goyal_has_the_paper_s_values():
    values = dict(flatten(recipe.load("goyal2017")))
    expected = {
        "epochs": 90,
        "model.stride": "v1.5",
        "model.zero_gamma": True,
        "optimizer.lr": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 1e-4,
        "optimizer.decay_bn": False,
        "lr.warmup_epochs": 5.0,
        "lr.drops": (30.0, 60.0, 80.0),
        "batch.per_worker": 32,
        "images.size": 224,
    }
    assert {path: values[path] for path in expected} == expected


def test_adopting_claims_nothing_for_the_new_paper():
    parent = vary(Recipe(), paper={"epochs": 90}, code={"model.width": 64})
    child = adopt(parent, published=Published(batch="1"), paper={"epochs": 80})
    assert child.sources == {"epochs": "paper", "model.width": "chosen"}
    assert child.published.batch == "1" and parent.published.batch == ""


def test_a_field_has_one_source():
    with pytest.raises(InvalidArgument, match="twice"):
        vary(Recipe(), paper={"epochs": 90}, chosen={"epochs": 90})


def test_variants_are_named_after_their_recipe():
    assert recipe.load("mlperf_lars:4096").optimizer.lr == 10
    assert "mlperf_lars:4096" in recipe.variants("mlperf_lars")
    with pytest.raises(InvalidArgument, match=r"mlperf_lars:5.*mlperf_lars:4096"):
        recipe.load("mlperf_lars:5")
    with pytest.raises(InvalidArgument, match="no variants"):
        recipe.load("he2016:5")


@pytest.mark.parametrize("name", EVERY)
def test_every_setting_of_a_recipe_is_one_that_it_can_have(name):
    entries = recipe.entries()
    for path, value in flatten(recipe.load(name)):
        setting.check(path, value, entries[path])


def test_an_unknown_recipe_is_refused_with_the_valid_ones():
    with pytest.raises(InvalidArgument, match="goyal2018.*goyal2017, he2016"):
        recipe.load("goyal2018")


def test_vary_changes_a_value_and_notes_its_source():
    parent = vary(Recipe(), paper={"epochs": 90, "model.width": 64})
    child = vary(parent, chosen={"model.width": 32})
    assert (child.model.width, child.epochs, parent.model.width) == (32, 90, 64)
    assert child.sources == {"epochs": "paper", "model.width": "chosen"}


def test_vary_refuses_unknown_fields_and_sources():
    with pytest.raises(InvalidArgument, match=r"no field 'model.depth'.*model.blocks"):
        vary(Recipe(), paper={"model.depth": 50})
    with pytest.raises(InvalidArgument, match="rumour.*paper, code"):
        vary(Recipe(), rumour={"epochs": 1})


def test_doctests():
    assert doctest.testmod(recipe).failed == 0
    assert doctest.testmod(published).failed == 0
