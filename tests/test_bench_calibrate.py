import pytest

from bench import fitting
from bench.fitting import line as fit
from collectives import Link, Machine

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


@pytest.mark.parametrize("p", [2, 4, 6])
def test_the_link_of_a_model_is_found(p):
    machine, start = Machine.uniform(0, 0, 1e-10), Machine.load("host").engine

    def predict(link, nbytes):
        return machine.group_call("allreduce", p, nbytes, link)

    for link in (Link(5e-6, 1 / 20e9), Link(4e-7, 1 / 1e9)):
        seconds = [predict(link, n) for n in SIZES]
        found = fitting.model(predict, SIZES, seconds, start)
        assert found == pytest.approx(link, rel=0.02)
