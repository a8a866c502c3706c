import numpy as np
import pytest

from collectives import Chunk, Exchange, GroupCall, InvalidArgument, world
from collectives.lowering import lower
from collectives.step import KINDS, ROOTED, moving, send

GROUPS = [(0,), (0, 1), (2, 0, 1), (4, 2, 1, 3, 0), tuple(range(7))]


def result(group, call, count, *, lowered):
    """Return the arrays of all ranks after one group call."""
    programs = [[]] * len(group)
    for rank in group:
        steps = lower(call, rank) if lowered else [call]
        programs[rank] = moving(steps)
    buffers = [np.arange(count) + 100**rank for rank in range(len(group))]
    world.run([iter(program) for program in programs], world.Arrays(buffers))
    return buffers


def defined(call, buffers):
    """Return what the call defines: the whole of all, of the root, or pieces."""
    if call.kind == "reduce":
        return [buffers[call.root]]
    if call.kind == "reduce_scatter":
        pieces = call.chunk.split(len(call.group))
        owners = zip(call.group, pieces, strict=True)
        return [buffers[rank][slice(*piece)] for rank, piece in owners]
    return buffers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_exchanges_do_what_the_call_says(kind, group):
    for count in (0, 1, len(group) - 1, 3 * len(group) + 1):
        for root in group if kind in ROOTED else (None,):
            # An offset shows pieces that are cut from the buffer, not from the chunk.
            call = GroupCall(kind, group, Chunk(2, 2 + count), root)
            outcomes = [
                defined(call, result(group, call, count + 4, lowered=lowered))
                for lowered in (False, True)
            ]
            for one, other in zip(*outcomes, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_only_exchanges_are_left(kind):
    call = GroupCall(kind, (0, 1, 2), Chunk(0, 9), 1 if kind in ROOTED else None)
    steps = list(lower(call, 1))
    assert steps
    assert all(isinstance(step, Exchange) for step in steps)


def test_an_exchange_is_left_alone():
    assert list(lower(send(1, Chunk(0, 2)), 0)) == [send(1, Chunk(0, 2))]


@pytest.mark.parametrize(
    ("kind", "root"), [("alltoall", None), ("reduce", None), ("allgather", 0)]
)
def test_an_unknown_kind_or_a_wrong_root_is_refused(kind, root):
    with pytest.raises(InvalidArgument, match="reduce_scatter, allgather, reduce"):
        list(lower(GroupCall(kind, (0, 1), Chunk(0, 4), root), 0))
