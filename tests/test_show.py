import pytest

from collectives import Chunk, Exchange, GroupCall, Topology, algorithms
from collectives.show import describe, main, table
from collectives.step import receive, send
from collectives.verify import main as verify_main

RING = """\
ring: 4 ranks on 1 node, grid 2x2, 8 elements

step  rank 0            rank 1            rank 2            rank 3
   1  >1 [6,8) +3 [4,6)  >2 [0,2) +0 [6,8)  >3 [2,4) +1 [0,2)  >0 [4,6) +2 [2,4)
   2  >1 [4,6) +3 [2,4)  >2 [6,8) +0 [4,6)  >3 [0,2) +1 [6,8)  >0 [2,4) +2 [0,2)
   3  >1 [2,4) +3 [0,2)  >2 [4,6) +0 [2,4)  >3 [6,8) +1 [4,6)  >0 [0,2) +2 [6,8)
   4  >1 [0,2) =3 [6,8)  >2 [2,4) =0 [0,2)  >3 [4,6) =1 [2,4)  >0 [6,8) =2 [4,6)
   5  >1 [6,8) =3 [4,6)  >2 [0,2) =0 [6,8)  >3 [2,4) =1 [0,2)  >0 [4,6) =2 [2,4)
   6  >1 [4,6) =3 [2,4)  >2 [6,8) =0 [4,6)  >3 [0,2) =1 [6,8)  >0 [2,4) =2 [0,2)
"""


def words(text):
    return [line.split() for line in text.splitlines()]


def test_the_command_prints_the_ring_of_four(capsys):
    assert main(["ring", "-n", "4"]) == 0
    assert words(capsys.readouterr().out) == words(RING)


def test_columns_are_aligned():
    header, *rows = table("ring", Topology.uniform(local=4), 8).splitlines()[2:]
    for rank in range(4):
        column = header.index(f"rank {rank}")
        assert {row[column] for row in rows} == {">"}
        assert {row[column - 1] for row in rows} == {" "}


@pytest.mark.parametrize("name", algorithms.names())
def test_every_algorithm_is_shown_with_a_line_a_step(name):
    for lowered in (False, True):
        for size in (1, 3, 6):
            text = table(name, Topology.uniform(local=size), 12, lowered=lowered)
            lines = text.splitlines()
            assert lines[0].startswith(f"{name}: {size} rank")
            numbers = [line.split()[0] for line in lines[3:]]
            assert numbers == [str(i + 1) for i in range(len(numbers))]
            assert all(line == line.rstrip() for line in lines)


def test_of_many_ranks_the_first_are_shown():
    text = table("ring", Topology.uniform(local=20), 40)
    assert "rank 7" in text
    assert "rank 8" not in text
    assert text.endswith("... and 12 more ranks")


def test_group_calls_are_shown_or_lowered(capsys):
    arguments = ["hierarchical", "-n", "4", "--nodes", "2x2"]
    assert main(arguments) == 0
    assert "reduce [0,8) in 0,1 root 0" in capsys.readouterr().out
    assert main([*arguments, "--lowered"]) == 0
    assert "reduce" not in capsys.readouterr().out


def test_nodes_tell_the_number_of_ranks(capsys):
    assert main(["ring", "--nodes", "3x2"]) == 0
    assert "6 ranks on 3 nodes of 2" in capsys.readouterr().out


@pytest.mark.parametrize("command", [main, verify_main])
def test_a_schedule_that_raises_is_told_in_one_line(capsys, monkeypatch, command):
    def schedule(topology, rank, chunk):
        yield send(1 // rank, chunk)

    monkeypatch.setattr(algorithms.load("ring"), "schedule", schedule)
    assert command(["ring", "-n", "2"]) > 0
    err = capsys.readouterr().err
    assert "rank 0: ZeroDivisionError: " in err and "test_show.py, line " in err
    assert err.count("\n") == 1


def test_the_command_takes_a_grid(capsys):
    assert main(["torus2d", "-n", "6", "--grid", "2x3", "--count", "6"]) == 0
    assert "grid 2x3, 6 elements" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (None, ""),
        (send(3, Chunk(0, 2)), ">3 [0,2)"),
        (receive(3, Chunk(0, 2)), "=3 [0,2)"),
        (receive(3, Chunk(0, 2), reduce=True), "+3 [0,2)"),
        (Exchange(1, Chunk(0, 2), 2, Chunk(2, 4)), ">1 [0,2) =2 [2,4)"),
        (GroupCall("allgather", (0, 2), Chunk(0, 4)), "allgather [0,4) in 0,2"),
    ],
)
def test_a_step_in_a_few_characters(step, text):
    assert describe(step) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rings", "choose from binary_blocks, crossed_torus2d"),
        ("ring -n 6 --nodes 3x3", "like 4x2, or node sizes like 3,2,1"),
        ("ring -n 6 --grid 4x2", "1x6, 2x3, 3x2, 6x1"),
        ("ring -n 6 --grid 6", "expected XxY like 64x34"),
        ("ring -n 0", "at least one rank"),
        ("ring --count -2", "0 or more"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments, message, capsys):
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
