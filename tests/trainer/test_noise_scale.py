import doctest

import pytest

from collectives import InvalidArgument
from trainer import course, noise_scale, phases, recipe
from trainer.noise_scale import momentum

TABLE = {  # batch: smith_le, as_printed
    3276.8: (0.0, 0.99),
    8192: (0.6, 0.975),
    16384: (0.8, 0.95),
    32768: (0.9, 0.9),
    34816: (0.905882, 0.893750),
    55296: (0.940741, 0.831250),
    65536: (0.95, 0.8),
    69632: (0.952941, 0.7875),
    87040: (0.962353, 0.734375),
    121856: (0.973109, 0.628125),
    327680: (0.99, 0.0),
}
FORMULAS = {
    "smith_le": lambda batch: 1 - 0.1 * 32768 / batch,
    "as_printed": lambda batch: 1 - 0.1 * batch / 32768,
}
READINGS = ("smith_le", "as_printed")


@pytest.mark.parametrize("batch", TABLE)
@pytest.mark.parametrize("reading", READINGS)
def test_momentum_follows_the_batch_by_either_reading(reading, batch):
    found = momentum(reading, batch, reference_batch=32768)
    assert found == pytest.approx(TABLE[batch][READINGS.index(reading)], abs=5e-7)
    assert found == pytest.approx(FORMULAS[reading](batch), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("reading", "batch", "clipped", "value"),
    [
        ("smith_le", 1024, 0.0, "-2.2"),
        ("smith_le", 400000, 0.99, "0.991808"),
        ("as_printed", 1024, 0.99, "0.996875"),
        ("as_printed", 327681, 0.0, "-3.0517"),
    ],
)
def test_what_is_out_of_range_is_refused_or_clipped_on_demand(
    reading, batch, clipped, value
):
    with pytest.raises(InvalidArgument, match=f"momentum of {value}.*reference_batch"):
        momentum(reading, batch, reference_batch=32768)
    assert momentum(reading, batch, reference_batch=32768, clip=True) == clipped


def test_without_a_reading_the_batch_changes_nothing():
    assert momentum("none", 1, reference_batch=32768, momentum=0.875) == 0.875


def test_a_scaled_reference_batch_keeps_the_momentum():
    whole = momentum("smith_le", 55296, reference_batch=32768)
    assert momentum("smith_le", 55.296, reference_batch=32.768) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mikami2018_reference", [0.9]),
        ("mikami2018_exp1", [0.9, 0.9]),
        ("mikami2018_exp2", [0.940741, 0.940741]),
        ("mikami2018_exp3", [0.940741, 0.95]),
        ("mikami2018_exp4", [0.9] * 4),
    ],
)
def test_recipes_have_the_momentum_of_their_phases(name, expected):
    values = recipe.load(name)
    found = [course.momentum(values, phase) for phase in phases.of(values, 1)]
    assert found == pytest.approx(expected, abs=5e-7)


def test_doctests():
    assert doctest.testmod(noise_scale).failed == 0
