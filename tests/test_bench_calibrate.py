import pytest

from bench.calibrate import fit
from collectives import Link

SIZES = [4**i for i in range(1, 12)]


def test_an_exact_line_is_found():
    link = Link(3e-6, 1 / 4e9)
    found = fit(SIZES, [link.alpha + n * link.beta for n in SIZES])
    assert found == pytest.approx(link, rel=1e-6)


def test_long_messages_do_not_drown_short_ones():
    seconds = [3e-6 + n / 4e9 for n in SIZES]
    seconds[-1] *= 1.2
    assert fit(SIZES, seconds).alpha == pytest.approx(3e-6, rel=0.05)


def test_no_part_of_a_link_is_negative():
    falling = [1e-5 - n * 1e-13 for n in SIZES]
    steep = [n * 1e-9 * (1 + i) for i, n in enumerate(SIZES)]
    for seconds in (falling, steep):
        link = fit(SIZES, seconds)
        assert link.alpha >= 0
        assert link.beta >= 0
        assert max(link) > 0
