"""The clock agrees with every formula."""

import pytest
from layouts import even_bytes, layouts

from collectives import Machine, Topology, algorithms
from collectives.algorithms.pipelined import SEGMENT
from collectives.machine import PRESETS
from collectives.simulate import main, simulate

UNIFORM = Machine.uniform(3e-6, 1e-9, 0.3e-9)
NAMES = algorithms.names()
SIZES = [*range(1, 34), 48, 64]


def equal_layouts(size):
    """Yield one node, and nodes of four, three or two ranks."""
    yield Topology.uniform(local=size)
    for local in (4, 3, 2):
        if size % local == 0 and size > local:
            yield Topology.uniform(nodes=size // local, local=local)
            return


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_the_clock_agrees_with_the_formula(name, size):
    for topology in equal_layouts(size):
        whole = size >= 10 or name.startswith("pipelined")
        nbytes = even_bytes(size) * (1 if whole else 4096)
        found = simulate(name, topology, nbytes, UNIFORM).seconds
        formula = algorithms.load(name).cost(topology, nbytes, UNIFORM)
        if len(set(map(len, topology.rows))) > 1 and name.endswith("torus2d"):
            assert 0.5 * found <= formula <= 2 * found
        else:
            rough = name == "crossed_torus2d" and straddling(topology)
            assert found == pytest.approx(formula, rel=1e-3 if rough else 1e-9)


def straddling(topology):
    """Say whether some row of the grid is on more than one of several nodes."""
    if len(topology.nodes) == 1:
        return False
    return any(len({topology.node_of[r] for r in row}) > 1 for row in topology.rows)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 8, 10, 12, 16, 20])
@pytest.mark.parametrize("segments", [2, 3, 16])
@pytest.mark.parametrize("name", ["pipelined", "pipelined_torus2d"])
def test_the_clock_agrees_with_the_formula_for_a_full_pipeline(name, size, segments):
    for topology in equal_layouts(size):
        if len(set(map(len, topology.rows))) > 1 and name == "pipelined_torus2d":
            continue  # an estimate
        piece = SEGMENT // even_bytes(size) * even_bytes(size)
        nbytes = 4 * segments * piece
        found = simulate(name, topology, nbytes, UNIFORM).seconds
        formula = algorithms.load(name).cost(topology, nbytes, UNIFORM)
        assert found == pytest.approx(formula, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("machine", PRESETS)
def test_the_formula_is_a_fair_estimate_on_shared_wires(name, machine):
    nbytes = 4 * 480 * 64 * 64
    for nodes, local in ((1, 8), (4, 4), (3, 5), (4, 8)):
        topology = Topology.uniform(nodes, local)
        found = simulate(name, topology, nbytes, PRESETS[machine]).seconds
        formula = algorithms.load(name).cost(topology, nbytes, PRESETS[machine])
        assert 0.25 * found <= formula <= 4 * found


@pytest.mark.parametrize("name", NAMES)
def test_unequal_nodes_and_odd_counts_have_a_time_too(name):
    for topology in layouts(7):
        timing = simulate(name, topology, 4 * 101, Machine.load("host"))
        assert timing.seconds > 0
        assert timing.steps > 0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_takes_no_time(name):
    for nbytes, size in ((0, 6), (400, 1)):
        timing = simulate(name, Topology.uniform(local=size), nbytes, UNIFORM)
        assert timing == (0.0, 0, 0, 0)


def test_ring_and_torus_at_1024_ranks_take_the_derived_times():
    topology = Topology.uniform(nodes=256, local=4, grid=(32, 32))
    machine = Machine.load("abci")
    ring = algorithms.load("ring").cost(topology, 51114064, machine)
    torus = simulate("torus2d", topology, 51114064, machine)
    assert ring == pytest.approx(17.8e-3, rel=0.1)
    assert torus.seconds == pytest.approx(5.5e-3, rel=0.1)
    assert torus.steps == 124


def test_the_command_prints_a_row_for_each_algorithm(capsys):
    assert main(["--np", "10", "--machine", "abci", "--algorithms", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("# abci: Mikami et al.")
    assert lines[1] == (
        "# 10 ranks on 3 nodes of 4x2,2, grid of rows 4x2,2; 51114064 bytes"
    )
    assert lines[2].split()[0] == "algorithm"
    assert [line.split()[0] for line in lines[3:]] == [
        n for n in NAMES if n != "shared"
    ]
    for line in lines[3:]:
        assert float(line.split()[1]) > 0


def test_the_command_takes_nodes_and_grid(capsys):
    arguments = "-n 12 --nodes 6x2 --grid 6x2 --algorithms torus2d --bytes 4800"
    assert main(arguments.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "# 12 ranks on 6 nodes of 2, grid 6x2; 4800 bytes"
    assert lines[3].split()[3] == "12"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-n 8 --algorithms ring,rings", "choose from binary_blocks"),
        ("-n 8 --machine frontier", "bigbasin, mn1, abci, host"),
        ("-n 8 --nodes 3x3", "like 4x2, or node sizes like 3,2,1"),
        ("-n 8 --grid 3x3", "1x8, 2x4, 4x2, 8x1"),
        ("-n 8 --grid three", "expected XxY like 64x34"),
        ("-n 0", "at least one rank"),
        ("-n 8 --bytes -8", "0 or more"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments, message, capsys):
    assert main(arguments.split()) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
