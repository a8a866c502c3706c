"""Steps and bytes, as the docstrings state them and by placement of the ranks."""

from math import ceil, log2

import pytest
from layouts import even_bytes

from collectives import Chunk, Machine, Topology, algorithms, world
from collectives.algorithms.mixed_radix import prime_factors
from collectives.simulate import Clock, simulate
from collectives.step import moving

UNIFORM = Machine.uniform(3e-6, 1e-9, 0.3e-9)
NAMES = algorithms.names()
SIZES = [*range(1, 34), 48, 64]


def counted(name, size):
    """Return the steps, and bytes sent for each byte of the buffer, of the clock."""
    n = even_bytes(size)
    timing = simulate(name, Topology.uniform(local=size), n, UNIFORM)
    return timing.steps, pytest.approx(timing.bytes_sent / n)


@pytest.mark.parametrize("p", SIZES)
def test_ring_takes_the_stated_steps_and_bytes(p):
    assert counted("ring", p) == (2 * (p - 1), 2 * (p - 1) / p)


@pytest.mark.parametrize("p", SIZES)
def test_mixed_radix_takes_the_stated_steps_and_bytes(p):
    steps = 2 * sum(factor - 1 for factor in prime_factors(p))
    assert counted("mixed_radix", p) == (steps, 2 * (p - 1) / p)


@pytest.mark.parametrize("p", SIZES)
def test_torus2d_takes_the_stated_steps_and_bytes(p):
    lengths = {len(row) for row in Topology.uniform(local=p).rows}
    if len(lengths) == 1:
        x = lengths.pop()
        steps = 2 * (x - 1) + 2 * (p // x - 1)
        assert counted("torus2d", p) == (steps, 2 * (p - 1) / p)


@pytest.mark.parametrize("p", SIZES)
def test_recursive_doubling_takes_the_stated_steps_and_bytes(p):
    k = p.bit_length() - 1
    if p == 1 << k:
        assert counted("recursive_doubling", p) == (k, k)
    else:
        # The rank that stays takes all k + 2 steps, and sends in all but the first.
        assert counted("recursive_doubling", p) == (k + 2, k + 1)


@pytest.mark.parametrize("p", SIZES)
def test_halving_doubling_takes_the_stated_steps_and_bytes(p):
    k = p.bit_length() - 1
    q = 1 << k
    steps, share = counted("halving_doubling", p)
    if p == q:
        assert (steps, share) == (2 * k, 2 * (p - 1) / p)
    else:
        # The even rank of a folded pair: half to fold, and everything in the end.
        assert (steps, share) == (2 * k + 3, 2 * (q - 1) / q + 1.5)


@pytest.mark.parametrize("p", SIZES[1:])
def test_tree_takes_the_stated_steps_and_bytes(p):
    # The root takes part in every step of both ways, and sends on one.
    k = ceil(log2(p))
    assert counted("tree", p) == (2 * k, k)


@pytest.mark.parametrize("p", SIZES[1:])
@pytest.mark.parametrize("segments", [1, 4])
def test_rank_order_takes_the_stated_steps_and_bytes(p, segments):
    n = 4 * 65536 * segments
    timing = simulate("rank_order", Topology.uniform(local=p), n, UNIFORM)
    seconds = UNIFORM.intra.alpha + n / segments * UNIFORM.intra.beta
    seconds = 2 * seconds + n / segments * UNIFORM.gamma
    assert timing.seconds == pytest.approx((p + segments - 2) * seconds)
    assert timing.bytes_sent == (2 * n if p > 2 else n)


@pytest.mark.parametrize(("nodes", "local"), [(4, 2), (6, 4), (16, 4), (5, 3)])
def test_split_rail_takes_the_stated_steps_and_bytes(nodes, local):
    n = even_bytes(nodes * local)
    topology = Topology.uniform(nodes, local)
    steps = 2 * sum(factor - 1 for factor in prime_factors(nodes))
    timing = simulate("split_rail", topology, n, UNIFORM)
    assert timing.steps == steps + 2  # two group calls
    assert timing.bytes_sent * local * nodes == 2 * n * (nodes - 1)
    assert timing.wire_bytes * nodes == 2 * n * (nodes - 1)
    programs = world.schedules("split_rail", topology, n // 4, lowered=True)
    clock = Clock(topology, UNIFORM, 4)
    world.run(programs, clock)
    assert clock.timing().steps == steps + 2 * (local - 1)
    inside = 2 * n * (local - 1) // local
    assert clock.timing().bytes_sent == inside + timing.bytes_sent


def placed(name, nodes, local, *, cyclic):
    """Return bytes sent by a rank, and out of a node, for each byte of the buffer.

    The schedule ignores the nodes (a torus has rows of as many ranks as a node), and
    runs on ranks that are placed in blocks, or dealt out to the nodes in turn.
    """
    p = nodes * local
    n = 4 * 64 * p
    grid = (local, nodes) if name == "torus2d" else None
    flat = Topology.uniform(local=p, grid=grid)
    hosts = [str(r % nodes if cyclic else r // local) for r in range(p)]
    clock = Clock(Topology.from_hosts(hosts), UNIFORM, 4)
    world.run(world.schedules(name, flat, n // 4), clock)
    return clock.timing().bytes_sent / n, clock.timing().wire_bytes / n


SHAPES = pytest.mark.parametrize(("m", "l"), [(4, 8), (16, 8)])
NEAREST_FIRST = ["halving_doubling", "mixed_radix", "binary_blocks"]


@SHAPES
def test_a_ring_crosses_once_in_blocks_and_everywhere_in_turn(m, l):  # noqa: E741
    share = 2 * (m * l - 1) / (m * l)
    assert placed("ring", m, l, cyclic=False) == (share, share)
    assert placed("ring", m, l, cyclic=True) == (share, l * share)


@SHAPES
@pytest.mark.parametrize("cyclic", [False, True])
def test_recursive_doubling_always_loads_the_wire(m, l, cyclic):  # noqa: E741
    volume = placed("recursive_doubling", m, l, cyclic=cyclic)
    assert volume == (log2(m * l), l * log2(m))


@SHAPES
@pytest.mark.parametrize("name", NEAREST_FIRST)
def test_nearest_first_keeps_the_large_halves_in_the_node(name, m, l):  # noqa: E741
    share, wire = 2 * (m * l - 1) / (m * l), 2 * (m - 1) / m
    assert placed(name, m, l, cyclic=False) == (share, wire)
    assert placed(name, m, l, cyclic=True) == (share, l * wire)


@SHAPES
def test_a_torus_with_rows_across_nodes_loads_the_wire(m, l):  # noqa: E741
    share, wire = 2 * (m * l - 1) / (m * l), 2 * (m - 1) / m
    assert placed("torus2d", m, l, cyclic=False) == (share, wire)
    rows = 2 * (l - 1) / l
    columns = 0 if m < l else share - rows  # with few nodes a column is in one
    assert placed("torus2d", m, l, cyclic=True) == (share, l * (rows + columns))


@SHAPES
@pytest.mark.parametrize("name", ["split_rail", "hierarchical"])
def test_hierarchies_send_the_least_out_of_a_node(name, m, l):  # noqa: E741
    n = 4 * 64 * m * l
    timing = simulate(name, Topology.uniform(m, l), n, UNIFORM)
    wire = 2 * (m - 1) / m
    assert timing.wire_bytes / n == wire
    assert timing.bytes_sent / n == (wire if name == "hierarchical" else wire / l)


@pytest.mark.parametrize(("m", "l"), [(3, 5), (3, 4), (2, 7), (5, 6), (4, 9)])
def test_mixed_radix_groups_do_not_straddle_nodes(m, l):  # noqa: E741
    n = even_bytes(m * l)
    timing = simulate("mixed_radix", Topology.uniform(m, l), n, UNIFORM)
    assert timing.wire_bytes / n == pytest.approx(2 * (m - 1) / m)


@pytest.mark.parametrize("name", NAMES)
def test_placement_does_not_matter_as_ranks_are_ordered_by_node(name):
    n = 4 * 64 * 32
    block = Topology.uniform(nodes=4, local=8)
    dealt = Topology.from_hosts([str(rank % 4) for rank in range(32)])
    timings = [simulate(name, t, n, Machine.load("host")) for t in (block, dealt)]
    if name == "rank_order":  # it adds in rank order, whatever that costs
        assert timings[0].wire_bytes < timings[1].wire_bytes
    else:
        assert timings[0][1:] == timings[1][1:]
        # Of those that ask for a shared wire at once the lowest rank gets it first.
        assert timings[0].seconds == pytest.approx(timings[1].seconds, rel=0.05)


@pytest.mark.parametrize(
    ("x", "y", "steps"),
    [(32, 32, 124), (32, 64, 188), (34, 64, 192), (48, 72, 236), (64, 64, 252)],
)
def test_the_steps_of_the_published_tori(x, y, steps):
    topology = Topology.uniform(nodes=x * y // 2, local=2, grid=(x, y))
    whole = Chunk(0, 25557032)
    for rank in (0, x * y // 2, x * y - 1):
        torus = algorithms.load("torus2d").schedule(topology, rank, whole)
        assert sum(1 for _ in moving(torus)) == steps
        ring = algorithms.load("ring").schedule(topology, rank, whole)
        assert sum(1 for _ in moving(ring)) == 2 * (x * y - 1)
