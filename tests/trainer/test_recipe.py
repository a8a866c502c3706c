import pytest

from collectives import InvalidArgument
from trainer import recipe
from trainer.recipe import Recipe, flatten, vary


def test_recipes_are_found_by_their_files():
    assert {"goyal2017", "he2016"} <= set(recipe.names())


@pytest.mark.parametrize("name", recipe.names())
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
