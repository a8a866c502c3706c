"""The study's arms: rates by epoch, what each changes, and their orders."""

import numpy as np
import pytest

from bench.study import arms, order, plan, task
from bench.study.arms import ARMS, GHOST, Rates
from trainer import lr
from trainer.recipe import flatten

RATES = Rates(sgd=0.1, lars=30.0)
SGD = ("M1", "M2", "M3", "M4", "M5", "M6", "M9", "M10", "M11")


def made(name, batch=8192, epochs=30):
    return arms.recipe(name, batch=batch, rates=RATES, epochs=epochs)


def rates(name, *, batch=8192):
    """The rate at the beginning, in the warm-up, after it, and after each drop."""
    found = made(name, batch)
    epochs = (0, 1, 2, 9.99, 10, 20, 26.7)
    spans = [lr.span_epoch(found, epoch=epoch, epochs=30) for epoch in epochs]
    return [lr.rate(found, batch=batch, epoch=epoch) for epoch in spans]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("M1", (0.1, 0.1, 0.1, 0.1, 0.01, 1e-3, 1e-4)),
        ("M2", (0.1, 0.6156854, 1.131371, 1.131371, 0.1131371, 0.01131371, 1.131e-3)),
        ("M3", (12.8, 12.8, 12.8, 12.8, 1.28, 0.128, 0.0128)),
        ("M4", (0.1, 0.1, 12.8, 12.8, 1.28, 0.128, 0.0128)),
        ("M5", (0.1, 6.45, 12.8, 12.8, 1.28, 0.128, 0.0128)),
        ("M6", (0.1, 6.45, 12.8, 12.8, 1.28, 0.128, 0.0128)),
        ("M8", (6.4, 6.4, 6.4, 6.4, 6.4, 0.96, 0.128)),
    ],
)
def test_rates_are_those_of_the_arm(name, expected):
    assert rates(name) == pytest.approx(expected, rel=1e-3)


def test_lars_decays_by_a_square_from_the_beginning_of_the_run():
    parts = [1 - epoch / 30 for epoch in (2, 9.99, 10, 20, 26.7)]
    expected = [0.0, 15.0, *(30 * part**2 for part in parts)]
    assert rates("M7") == pytest.approx(expected)
    small = rates("M7", batch=2048)
    assert small == pytest.approx([rate / 2 for rate in expected])


@pytest.mark.parametrize("name", SGD)
def test_all_arms_of_sgd_are_one_at_the_smallest_batch(name):
    assert rates(name, batch=64) == pytest.approx(rates("M0", batch=64))


def test_the_warm_up_takes_two_epochs_at_least():
    assert made("M5", epochs=30).lr.warmup_epochs == 6.0  # of 90
    assert made("M5", epochs=90).lr.warmup_epochs == 5.0


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("M1", {"lr.scaling"}),
        ("M2", {"lr.scaling"}),
        ("M3", {"lr.warmup_epochs"}),
        ("M4", {"lr.warmup_epochs", "lr.jumps", "optimizer.lr"}),
        ("M6", {"model.zero_gamma"}),
        ("M8", {"optimizer.kind", "lr.warmup_epochs", "lr.drops", "lr.factors"}),
        ("M9", {"optimizer.form"}),
        ("M10", {"bn.group"}),
        ("M11", set()),
    ],
)
def test_an_arm_changes_one_thing_of_m5(name, changed):
    base, found = (dict(flatten(made(which))) for which in ("M5", name))
    assert {path for path in base if base[path] != found[path]} == changed
    assert ARMS[name].independent == (name == "M11")


def test_every_value_of_an_arm_is_our_choice():
    assert set(made("M7").sources.values()) == {"chosen"}


def test_one_shuffle_shows_each_picture_once():
    found = order.batches(1000, 64, seed=1, epoch=3, independent=False)
    assert found.shape == (15, 64)
    assert len(np.unique(found)) == found.size
    again = order.batches(1000, 64, seed=1, epoch=3, independent=False)
    np.testing.assert_array_equal(found, again)
    other = order.batches(1000, 64, seed=1, epoch=4, independent=False)
    assert np.any(found != other)


def test_own_shuffles_show_some_pictures_twice_but_to_one_worker():
    found = order.batches(1000, 128, seed=1, epoch=3, independent=True)
    assert found.shape == (7, 128)
    assert len(np.unique(found)) < 0.75 * found.size
    for worker in range(4):
        mine = found[:, worker * GHOST : (worker + 1) * GHOST]
        assert len(np.unique(mine)) == mine.size


def test_each_tuned_setting_has_as_many_tries_and_a_random_seed_of_its_own():
    tries = plan.tuning(task.FULL)
    assert len(arms.RATES) == len(arms.LARS_RATES) == 5
    assert len({plan.key(run) for run in tries}) == 10
    assert {run.seed for run in tries} == {task.HELD_OUT}
    assert task.HELD_OUT not in (*task.FULL.seeds, *task.REDUCED.seeds)


def test_the_full_study_has_every_arm_at_every_larger_batch():
    found = {plan.key(run)[:3] for run in plan.runs(task.FULL, RATES)}
    expected = {("M0", 64, seed) for seed in range(1, 6)}
    expected |= {
        (name, batch, seed)
        for name in ARMS
        for batch in (256, 1024, 2048, 4096, 8192)
        for seed in range(1, 6)
        if name != "M0"
    }
    assert found == expected
    assert len(plan.runs(task.FULL, RATES)) == len(found) == 280
