import doctest

import pytest

from trainer import outlook, recipe
from trainer.recipe import IMAGENET

EVERY = [
    *recipe.names(),
    *(v for name in recipe.names() for v in recipe.variants(name)),
]


@pytest.mark.parametrize("name", EVERY)
def test_every_plan_names_algorithm_grid_steps_and_bytes(name):
    values = recipe.load(name)
    workers = values.published.workers or 8
    lines = outlook.forecast_lines(values, workers, IMAGENET)
    wire = values.reduction.wire or "float32"
    assert lines[0].startswith("gradients: ") and f" bytes of {wire}; " in lines[0]
    pattern = next(line for line in lines if "from epoch 0" in line)
    for word in ("grid", "steps", "bytes a rank"):
        assert word in pattern
    untimed = values.published.cluster is None
    assert untimed == ("no forecast" in lines[-1]) == ("ms an update" not in pattern)


def test_a_ring_of_ranks_of_an_unknown_machine_sends_what_is_derived():
    values = recipe.load("he2016")
    lines = outlook.forecast_lines(values, 8, IMAGENET)
    assert "ring (auto takes what is fastest there)" in lines[0]
    sent = 4 * (2 * 25_557_032 - 2 * 25_557_032 // 8)
    assert f"8 ranks on 8 nodes of 1, grid 2x4; 14 steps, {sent:,} bytes" in lines[1]


def test_doctests():
    assert doctest.testmod(outlook).failed == 0
