import re
import subprocess
import sys
import textwrap
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpi_hosts import generate
from mpi_hosts.layout import (
    Node,
    count_pieces,
    name_nodes,
    pack_rows,
    parse_grid,
    parse_shape,
    place_ranks,
)
from mpi_hosts.systems import SYSTEMS

HERE = Path(generate.__file__).parent
SCRIPTS = sorted([*HERE.glob("*.sh"), *HERE.glob("*.sbatch")])
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)
relaxed = settings(derandomize=True, database=None, deadline=None)


def lines(*args, **kwargs):
    text = generate.generate(*args, **kwargs)
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_every_system_has_a_committed_file_and_every_file_a_system():
    assert {path.stem for path in HERE.glob("*.hosts")} == set(SYSTEMS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_committed_file_is_what_generate_writes(name):
    text = (HERE / f"{name}.hosts").read_text("utf-8")
    assert text == generate.generate("openmpi", system=SYSTEMS[name])


@pytest.mark.parametrize(
    ("name", "count", "ranks"),
    [("bigbasin", 32, 256), ("mn1", 128, 1024), ("abci", 864, 3456)],
)
def test_published_clusters_have_their_published_size(name, count, ranks):
    nodes = SYSTEMS[name].nodes()
    assert len({node.host for node in nodes}) == count
    assert sum(node.slots for node in nodes) == ranks


@given(sizes=sizes)
@relaxed
def test_every_format_holds_every_rank_once_in_the_same_blocks(sizes):
    shape = ",".join(map(str, sizes))
    hosts = [node.host for node in name_nodes(sizes, "node")]
    blocks = [host for host, n in zip(hosts, sizes, strict=True) for _ in range(n)]
    assert len(set(hosts)) == len(sizes)
    assert lines("openmpi", shape=shape) == [
        f"{host} slots={n}" for host, n in zip(hosts, sizes, strict=True)
    ]
    assert lines("mpich", shape=shape) == [
        f"{host}:{n}" for host, n in zip(hosts, sizes, strict=True)
    ]
    assert lines("slurm", shape=shape) == blocks
    ranked = [read_rank(line) for line in lines("rankfile", shape=shape)]
    assert [rank for rank, _, _ in ranked] == list(range(sum(sizes)))
    assert [host for _, host, _ in ranked] == blocks
    assert [slot for _, _, slot in ranked] == [i for n in sizes for i in range(n)]


def read_rank(line):
    """Take ``rank 3=node0 slot=1`` apart: 3, node0, 1."""
    rank, host, slot = re.fullmatch(r"rank (\d+)=(\S+) slot=(\d+)", line).groups()
    return int(rank), host, int(slot)


@given(sizes=sizes, x=st.integers(1, 12))
@relaxed
def test_packing_keeps_the_nodes_and_never_splits_more_rows(sizes, x):
    nodes = name_nodes(sizes, "node")
    packed = pack_rows(nodes, x)
    assert sorted(packed) == sorted(nodes)
    assert count_pieces(packed, x) <= count_pieces(nodes, x)


@pytest.mark.parametrize(("sizes", "x"), [((4, 2, 4, 2), 4), ((3, 2, 1, 2, 4), 4)])
def test_unequal_nodes_are_packed_into_whole_rows(sizes, x):
    nodes = name_nodes(sizes, "node")
    best = min(count_pieces(order, x) for order in permutations(nodes))
    assert count_pieces(pack_rows(nodes, x), x) == best < count_pieces(nodes, x)


@pytest.mark.parametrize("shape", ["32x8", "128x8", "864x4"])
def test_equal_nodes_stay_in_order_under_any_grid(shape):
    nodes = name_nodes(parse_shape(shape), "node")
    ranks = sum(node.slots for node in nodes)
    for x in (x for x in range(1, ranks + 1) if ranks % x == 0):
        assert pack_rows(nodes, x) == nodes


def test_rows_of_the_2176_rank_torus_are_made_of_whole_nodes():
    hosts = lines("slurm", shape="544x4", grid="64x34")
    rows = [set(hosts[start : start + 64]) for start in range(0, 2176, 64)]
    assert [len(row) for row in rows] == [16] * 34
    assert len(set.union(*rows)) == 544


def test_a_row_inside_a_node_is_one_piece():
    nodes = [Node("a", 8), Node("b", 4)]
    assert count_pieces(nodes, 4) == 3
    assert [host for host, _ in place_ranks(nodes)] == ["a"] * 8 + ["b"] * 4


@pytest.mark.parametrize(
    "shape",
    ["", "x", "4x", "0x8", "4x-1", "4,0", "4,,2", "4x2x2", "999999999999x8", "a"],
)
def test_bad_shape_is_refused_with_its_text(shape):
    with pytest.raises(ValueError, match=f"shape '{shape}'"):
        parse_shape(shape)


@pytest.mark.parametrize("grid", ["5x3", "0x16", "-4x-4", "4", "4x4x1", "x"])
def test_bad_grid_names_the_grids_that_fit(grid):
    with pytest.raises(ValueError, match="1x16, 2x8, 4x4, 8x2, 16x1"):
        parse_grid(grid, 16)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shape", "4by2"], "NODESxSLOTS"),
        (["--shape", "4x4", "--grid", "5x3"], "16 ranks"),
        (["--shape", "4x4", "--prefix", "a b"], "prefix 'a b'"),
        (["--shape", "4x4", "--prefix", "-"], "no hyphen"),
        (["--shape", "4x4", "--format", "pbs"], "rankfile"),
        (["--system", "cray"], "bigbasin"),
        (["--system", "mn1", "--prefix", "a"], "use --shape"),
        (["--system", "local", "--format", "rankfile"], "with --shape"),
        (["--system", "mn1", "--shape", "4x4"], "not allowed"),
        ([], "required"),
    ],
)
def test_wrong_command_line_is_one_error_and_exit_code_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        generate.main(arguments)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert said in err
    assert err.count("error:") == 1


def test_generate_needs_neither_mpi_nor_numpy():
    code = (
        "import sys; from mpi_hosts import generate; "
        "generate.main(['--shape', '2x2', '--format', 'mpich']); "
        "assert not {'mpi4py', 'numpy', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["node0:2", "node1:2"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_launch_script_is_valid_shell(script):
    done = subprocess.run(
        ["bash", "-n", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_readme_shows_what_generate_prints(capsys):
    text = (HERE / "README.rst").read_text("utf-8")
    shown = re.findall(r"   \$ python -m mpi_hosts.generate (.*)\n((?:   .+\n)+)", text)
    assert len(shown) == 2
    for arguments, output in shown:
        generate.main(arguments.split())
        assert capsys.readouterr().out == textwrap.dedent(output)
