from dataclasses import replace

import pytest

from collectives import Topology
from trainer import course, phases, plan, recipe
from trainer.sampler import Sampler
from trainer.settings import parse


def test_the_first_lines_name_recipe_data_ranks_grid_and_batch():
    text = "\n".join(plan.headline(parse([]), Topology.sized([2]), 1437))
    for words in (
        "recipe goyal2017", "data digits", "ranks 2", "grid 2 x 1",
        "batch 2 ranks * 32 images * 1 = 64", "lr 0.1 * 64 / 256 = 0.025",
        "epochs=", "(chosen)",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("size", [1, 44, 45, 64, 700, 1437])
@pytest.mark.parametrize("recipe_name", ["he2016", "goyal2017"])
def test_any_number_of_ranks_finds_a_batch_of_digits(recipe_name, size):
    settings = parse(["--recipe", recipe_name, "--images.size", "33"])
    settings = plan.fit(settings, size, 1437)
    per_worker = settings.recipe.batch.per_worker
    assert per_worker == min(32, 1437 // size)
    sampler = Sampler(1437, rank=0, size=size, per_worker=per_worker, seed=1)
    assert len(sampler) >= 1


def test_a_lowered_batch_is_told_as_chosen_and_stored(tmp_path):
    settings = plan.fit(parse([]), 64, 1437)
    text = "\n".join(plan.headline(settings, Topology.sized([64]), 1437))
    assert "batch 64 ranks * 22 images * 1 = 1408" in text
    assert "batch.per_worker=22 (chosen)" in text
    path = tmp_path / "config.yaml"
    path.write_text(settings.yaml, "utf-8")
    assert parse(["--config", str(path)]).recipe.batch.per_worker == 22


def test_microbatches_count_where_the_batch_is_lowered():
    settings = plan.fit(parse(["--batch.accumulation", "4"]), 64, 1437)
    assert settings.recipe.batch.per_worker == 1437 // (64 * 4)


@pytest.mark.parametrize("where", ["flag", "file"])
def test_a_batch_that_was_given_is_never_lowered(tmp_path, where):
    path = tmp_path / "mine.yaml"
    path.write_text("batch: {per_worker: 32}\n", "utf-8")
    flags = {"flag": ["--batch.per_worker", "32"], "file": ["--config", str(path)]}
    settings = parse(flags[where])
    assert plan.fit(settings, 64, 1437) == settings


def test_a_batch_that_nothing_can_fit_is_left_for_the_sampler_to_refuse():
    settings = parse([])
    assert plan.fit(settings, 1438, 1437) == settings


def test_the_dry_run_shows_buckets_sources_and_every_epoch_s_rate():
    settings = parse(["--data", "synthetic"])
    lines = plan.dry_run(settings, Topology.sized([256]), 1_281_167)
    text = "\n".join(lines)
    assert "25,557,032 parameters, 161 tensors, 5 buckets" in text
    start = next(i for i, line in enumerate(lines) if "of the span" in line)
    rows = [line.split() for line in lines[start + 1 : start + 91]]
    rates = {int(row[0]): float(row[-2]) for row in rows}
    assert rates[0] == 0.1 and rates[1] == 0.72 and rates[5] == 3.2
    assert rates[30] == 0.32 and rates[80] == 0.0032
    assert ["optimizer.nesterov", "true", "paper"] in [line.split() for line in lines]
    assert "forecast for bigbasin, halving_doubling" in text


@pytest.mark.parametrize("recipe_name", recipe.names())
@pytest.mark.parametrize("size", [1, 2, 64])
def test_every_recipe_has_a_plan_for_any_ranks_on_the_digits(recipe_name, size):
    settings = parse(["--recipe", recipe_name, "--dry-run"])
    settings = plan.fit(settings, size, 1437)
    lines = plan.dry_run(settings, Topology.sized([size]), 1437)
    start = next(i for i, line in enumerate(lines) if "of the span" in line)
    rows = [line.split() for line in lines[start + 1 : start + 17]]
    assert [int(row[0]) for row in rows] == list(range(16))
    assert all(1 <= int(row[3]) <= 1437 for row in rows)
    assert "epochs of 0 updates" not in "\n".join(lines)


def test_phases_that_are_lowered_keep_momentum_and_are_told_as_chosen(tmp_path):
    settings = parse(["--recipe", "mikami2018_exp2", "--dry-run"])
    fitted = plan.fit(settings, 2, 1437)
    ((_, batch, per_worker), _) = fitted.recipe.batch.phases
    assert (batch, per_worker) == (64, 16)
    assert fitted.recipe.sources["batch.phases"] == "chosen"
    assert fitted.recipe.sources["noise_scale.reference_batch"] == "derived"
    published = course.momentum(settings.recipe, phases.of(settings.recipe, 2)[0])
    assert published == pytest.approx(0.940741, abs=5e-7)
    for part in phases.of(fitted.recipe, 2):
        found = course.momentum(fitted.recipe, part)
        assert found == pytest.approx(published, abs=1e-9)
    assert "29 * sqrt(64 / 55296) = 0.9866" in "\n".join(
        plan.headline(fitted, Topology.sized([2]), 1437)
    )
    path = tmp_path / "config.yaml"
    path.write_text(fitted.yaml, "utf-8")
    again = parse(["--config", str(path)]).recipe
    assert again.batch == fitted.recipe.batch
    assert again.noise_scale == fitted.recipe.noise_scale


def test_phases_that_fit_or_were_given_are_left(tmp_path):
    settings = parse(
        ["--recipe", "mikami2018_exp2", "--data", "synthetic", "--dry-run"]
    )
    assert plan.fit(settings, 3456, 1_281_167) == settings
    line = ["--dry-run", "--batch.phases", "[[0,4096,32]]"]
    given = parse(line)
    assert plan.fit(given, 2, 1437) == given


def test_unequal_rows_of_a_grid_are_named():
    topology = replace(Topology.sized([5]), rows=((0, 1, 2), (3, 4)))
    assert plan.grid(topology) == "grid 3 x 1 + 2 x 1"
