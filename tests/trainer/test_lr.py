import doctest
from dataclasses import replace

import pytest

from trainer import lr, recipe

GOYAL = recipe.load("goyal2017")
IMAGENET = 1_281_167


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 0.1), (1, 0.72), (2.5, 1.65), (5, 3.2), (29.99, 3.2),
        (30, 0.32), (60, 0.032), (80, 0.0032), (89.99, 0.0032),
    ],
)  # fmt: skip
def test_goyal_at_8192_has_the_published_rates(epoch, expected):
    assert lr.rate(GOYAL, batch=8192, epoch=epoch) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("power", range(11))
def test_the_rate_is_proportional_to_the_batch(power):
    published = [
        0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6,
    ]  # fmt: skip
    rate = lr.rate(GOYAL, batch=64 << power, epoch=10)
    assert rate == pytest.approx(published[power], rel=1e-6)


@pytest.mark.parametrize("batch", [32, 64, 256])
def test_no_warm_up_up_to_the_reference_batch(batch):
    start = lr.rate(GOYAL, batch=batch, epoch=0)
    assert start == lr.rate(GOYAL, batch=batch, epoch=29.9) == 0.1 * batch / 256


@pytest.mark.parametrize("batch", [288, 8192, 65536])
def test_warm_up_starts_from_the_reference_rate_whatever_the_batch(batch):
    assert lr.rate(GOYAL, batch=batch, epoch=0) == 0.1


def test_warm_up_at_8192_is_782_equal_increments():
    per_epoch = IMAGENET / 8192
    rates = [lr.rate(GOYAL, batch=8192, epoch=i / per_epoch) for i in range(783)]
    increments = [b - a for a, b in zip(rates, rates[1:], strict=False)]
    assert rates[781] < 3.2 and rates[782] == pytest.approx(3.2)
    assert increments[:781] == pytest.approx([3.1 / (5 * per_epoch)] * 781, rel=1e-6)


@pytest.mark.parametrize("epochs", [3, 12, 14, 90])
def test_a_shorter_run_keeps_the_shape(epochs):
    for part, expected in [(0, 0.1), (1 / 3, 0.32), (2 / 3, 0.032), (8 / 9, 0.0032)]:
        at = lr.span_epoch(GOYAL, epoch=epochs * part + 1e-9, epochs=epochs)
        rate = lr.rate(GOYAL, batch=8192, epoch=at)
        assert rate == pytest.approx(expected, rel=1e-6)


def test_a_drop_counts_from_its_very_epoch():
    at = lr.span_epoch(GOYAL, epoch=4, epochs=12)
    assert lr.rate(GOYAL, batch=256, epoch=at) == pytest.approx(0.01)


def test_weight_decay_does_not_depend_on_the_batch():
    # Remark 1: the decay is the optimiser's alone; no rate or batch enters it.
    larger = replace(GOYAL, batch=replace(GOYAL.batch, per_worker=8192))
    assert larger.optimizer.weight_decay == GOYAL.optimizer.weight_decay == 1e-4


def test_doctests():
    assert doctest.testmod(lr).failed == 0
