"""Both axes of a torus carry messages all the time: seen by steps, bytes and clock."""

from itertools import pairwise

import pytest
from layouts import even_bytes

from collectives import Chunk, Link, Machine, Topology, algorithms
from collectives.simulate import simulate
from collectives.step import moving

SHAPES = [(2, 2), (4, 4), (3, 5), (8, 3), (16, 16)]
every_shape = pytest.mark.parametrize(("x", "y"), SHAPES)


def torus(x, y):
    """Return a grid whose rows are nodes: its axes have different ports."""
    return Topology.uniform(nodes=y, local=x)


def machine(*, alpha=0.0, beta=0.0):
    return Machine.uniform(alpha, beta, gamma=0.0)


def axes_of(topology, rank, count):
    """Return what each step of a rank moves along: its row or its column."""
    schedule = algorithms.load("crossed_torus2d").schedule(
        topology, rank, Chunk(0, count)
    )
    row = next(row for row in topology.rows if rank in row)
    found = []
    for step in moving(schedule):
        assert (step.dst in row) == (step.src in row)
        found.append(("row" if step.dst in row else "column", step))
    return found


@pytest.mark.parametrize("k", [2, 3, 4, 8])
def test_on_a_square_every_round_has_a_message_of_each_axis(k):
    topology, count = torus(k, k), 2 * k * k
    for rank in range(topology.size):
        steps = axes_of(topology, rank, count)
        rounds = [{a[0], b[0]} for a, b in zip(steps[::2], steps[1::2], strict=True)]
        assert rounds == [{"row", "column"}] * (4 * (k - 1))
        for (_, a), (_, b) in zip(steps[::2], steps[1::2], strict=True):
            chunks = (a.send, a.recv), (b.send, b.recv)
            assert not any(p.overlaps(q) for p in chunks[0] for q in chunks[1])


def test_two_steps_of_one_half_never_follow_each_other_on_a_square():
    count = 32
    steps = axes_of(torus(4, 4), 5, count)
    halves = [step.send.start >= count // 2 for _, step in steps]
    assert all(a != b for a, b in pairwise(halves))


@every_shape
def test_the_rounds_are_those_of_the_longer_axis(x, y):
    topology = torus(x, y)
    seconds = simulate(
        "crossed_torus2d", topology, even_bytes(x * y), machine(alpha=1.0)
    ).seconds
    assert seconds == 4 * (max(x, y) - 1)
    plain = simulate("torus2d", topology, even_bytes(x * y), machine(alpha=1.0))
    assert plain.seconds == 2 * (x - 1) + 2 * (y - 1)


@pytest.mark.parametrize("k", [2, 3, 4, 8, 16])
def test_a_square_torus_takes_half_the_time_of_one_axis_after_the_other(k):
    topology, nbytes = torus(k, k), even_bytes(2 * k * k)
    crossed, plain = (
        simulate(name, topology, nbytes, machine(beta=1.0)).seconds
        for name in ("crossed_torus2d", "torus2d")
    )
    assert crossed == pytest.approx(plain / 2)


@every_shape
def test_each_axis_carries_the_stated_bytes(x, y):
    n = even_bytes(2 * x * y)
    for rank in (0, x * y // 2, x * y - 1):
        sent = {"row": 0, "column": 0}
        for axis, step in axes_of(torus(x, y), rank, n // 4):
            sent[axis] += 4 * step.send.size
        assert sent["row"] == pytest.approx(n * (x - 1) / x * (1 + 1 / y))
        assert sent["column"] == pytest.approx(n * (y - 1) / y * (1 + 1 / x))


def test_it_pays_where_both_axes_have_the_same_speed_only():
    topology, n = torus(8, 8), 1 << 26
    link, slow = Link(1e-6, 1e-9), Link(1e-6, 4e-9)
    for inter, better in ((link, True), (slow, False)):
        where = Machine("two axes", link, inter, gamma=0.0)
        crossed, plain = (
            algorithms.load(name).cost(topology, n, where)
            for name in ("crossed_torus2d", "torus2d")
        )
        assert (crossed < plain) == better


@pytest.mark.parametrize("grid", [(6, 1), (1, 6)])
def test_a_grid_of_one_line_is_a_ring(grid):
    topology, whole = Topology.uniform(local=6, grid=grid), Chunk(0, 61)
    crossed, ring = (
        [list(algorithms.load(n).schedule(topology, r, whole)) for r in range(6)]
        for n in ("crossed_torus2d", "ring")
    )
    assert crossed == ring
