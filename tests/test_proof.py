import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives import Chunk, Topology, WrongResult, world
from collectives.algorithms import ring
from collectives.proof import Expressions, prove, say

FOUR = Topology.uniform(local=4)


@pytest.mark.parametrize(
    ("operation", "steps"),
    [("reduce_scatter", ring.scatter_steps), ("allgather", ring.gather_steps)],
)
def test_pieces_that_end_on_the_wrong_rank(operation, steps):
    topology, pieces = Topology.uniform(local=3), Chunk(0, 13).split(3)

    def check(pieces):
        programs = [[steps((0, 1, 2), rank, pieces) for rank in range(3)] for _ in "12"]
        prove(*programs, topology, 13, operation=operation)

    check(pieces)
    with pytest.raises(WrongResult):
        check([pieces[1], pieces[0], pieces[2]])


def test_a_broadcast_from_the_wrong_root():
    steps = world.schedules("tree", FOUR, 5, operation="broadcast", root=1)
    same = world.schedules("tree", FOUR, 5, operation="broadcast", root=1)
    with pytest.raises(WrongResult, match="another rank's elements"):
        prove(steps, same, FOUR, 5, operation="broadcast", root=2)


def test_expressions_are_sums_without_order_of_the_two_sides():
    sums = Expressions(4)
    left, right = sums.add(1, 2), sums.add(3, 4)
    assert sums.add(2, 1) == left
    assert sums.add(left, right) == sums.add(right, left)
    assert sums.add(sums.add(left, 3), 4) != sums.add(left, right)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(5, 9)), max_size=20))
def test_sums_of_arrays_are_the_sums_of_their_elements(pairs):
    one, other = Expressions(9), Expressions(9)
    a, b = (np.array([pair[i] for pair in pairs], np.int32) for i in (0, 1))
    found = one.add_arrays(a, b).tolist()
    expected = [other.add(*pair) for pair in pairs]
    assert [one.ranks[n] for n in found] == [other.ranks[n] for n in expected]
    assert len(set(found)) == len(set(expected))


def test_ranks_are_named_in_full_if_few():
    assert say(0b1) == "rank 0"
    assert say(0b1010) == "ranks 1, 3"
    assert say((1 << 20) - 1) == "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
