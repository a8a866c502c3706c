import pytest

from collectives import Topology, algorithms
from collectives.step import send
from collectives.verify import main, verify


@pytest.mark.parametrize("name", algorithms.names())
@pytest.mark.parametrize("count", [0, 1, 7])
def test_one_rank_and_no_element_are_proved_too(name, count):
    verify(name, Topology.uniform(), count)
    verify(name, Topology.uniform(nodes=2, local=2), count)


def test_the_command_prints_a_line_for_each_algorithm(capsys):
    assert main(["--all", "--max", "6"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == algorithms.names()
    assert all("exactly once" in line and "1..6 ranks" in line for line in lines)


def test_the_command_proves_one_layout(capsys):
    assert main(["torus2d", "-n", "12", "--nodes", "6x2", "--grid", "6x2"]) == 0
    assert "12 ranks     2 proofs" in capsys.readouterr().out


def test_the_command_proves_group_calls_of_any_node_also_lowered(capsys):
    assert main(["split_rail", "-n", "4", "--nodes", "1,3", "--count", "0"]) == 0
    assert "2 proofs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rings", "choose from binary_blocks, crossed_torus2d"),
        ("torus2d -n 12 --grid 5x3", "1x12, 2x6, 3x4, 4x3, 6x2, 12x1"),
        ("torus2d -n 12 --grid 5", "expected XxY like 64x34"),
        ("ring -n 12 --nodes 5x3", "like 4x2, or node sizes like 3,2,1"),
        ("ring -n 0", "at least one rank"),
        ("ring --max 0", "at least one rank"),
        ("ring -n 2 --count -1", "0 or more"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments, message, capsys):
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["ring", "--grid", "2x2"], ["--maxx"]])
def test_a_command_line_that_cannot_be_read_is_code_2(arguments, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("verify: ") and told.count("\n") == 1


def test_a_failed_proof_is_code_1(capsys, monkeypatch):
    def schedule(topology, rank, chunk):
        yield send((rank + 1) % topology.size, chunk)

    monkeypatch.setattr(algorithms.load("ring"), "schedule", schedule)
    assert main(["ring", "-n", "3"]) == 1
    told = capsys.readouterr().err
    assert "FAILED: ring, 3 ranks on 1 node" in told
    assert "3 of 3 ranks wait for ever" in told
