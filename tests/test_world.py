from functools import partial

import numpy as np
import pytest

from collectives import (
    Chunk,
    Deadlock,
    Exchange,
    GroupCall,
    InvalidArgument,
    ShapeMismatch,
    Topology,
    WrongResult,
    world,
)
from collectives.step import receive, send

WHOLE = Chunk(0, 4)
PAIR = (0, 1)


def run(*programs, count=4):
    """Run programs on ranks that begin with the powers of ten, their own each."""
    buffers = [np.full(count, 10**rank) for rank in range(len(programs))]
    world.run([iter(program) for program in programs], world.Arrays(buffers))
    return [buffer.tolist() for buffer in buffers]


def test_what_is_sent_is_frozen_when_the_step_starts():
    swap = [Exchange(1, WHOLE, 1, WHOLE)], [Exchange(0, WHOLE, 0, WHOLE)]
    assert run(*swap) == [[10] * 4, [1] * 4]


def test_a_ring_of_simultaneous_exchanges_is_no_deadlock():
    programs = [
        [Exchange((r + 1) % 5, WHOLE, (r - 1) % 5, WHOLE, reduce=True)]
        for r in range(5)
    ]
    assert run(*programs)[0] == [10001] * 4


def test_the_kth_send_meets_the_kth_receive():
    low, high = WHOLE.split(2)
    assert run([send(1, low), send(1, high)], [receive(0, low), receive(0, high)]) == [
        [1] * 4,
        [1] * 4,
    ]
    with pytest.raises(WrongResult):
        run([send(1, low), send(1, high)], [receive(0, high), receive(0, low)])


def test_a_rank_may_send_to_itself():
    assert run([Exchange(0, WHOLE, 0, WHOLE, reduce=True)]) == [[2] * 4]


def test_both_send_first_and_wait_for_a_buffer_that_does_not_exist():
    with pytest.raises(Deadlock, match="2 of 2 ranks wait for ever") as deadlock:
        run(
            [send(1, WHOLE), receive(1, WHOLE)],
            [send(0, WHOLE), receive(0, WHOLE)],
        )
    assert "rank 0 waits in Exchange(dst=1" in str(deadlock.value)
    assert "rank 1 waits in Exchange(dst=0" in str(deadlock.value)


def test_a_partner_that_has_finished_is_waited_for_in_vain():
    with pytest.raises(Deadlock, match="rank 1 waits in .*src=0"):
        run([], [receive(0, WHOLE)])


def test_different_group_calls_wait_for_each_other():
    with pytest.raises(Deadlock) as deadlock:
        run(
            [GroupCall("allreduce", PAIR, WHOLE)], [GroupCall("allgather", PAIR, WHOLE)]
        )
    assert "rank 0 waits in GroupCall(kind='allreduce'" in str(deadlock.value)
    assert "rank 1 waits in GroupCall(kind='allgather'" in str(deadlock.value)


def test_of_many_that_wait_the_first_are_named():
    with pytest.raises(Deadlock) as deadlock:
        run(*[[receive((rank + 1) % 40, WHOLE)] for rank in range(40)])
    assert "40 of 40" in str(deadlock.value)
    assert str(deadlock.value).count("waits in") == 8


def test_the_two_sides_of_a_message_must_name_the_same_elements():
    with pytest.raises(WrongResult, match="rank 0 sends .*stop=4.* expects .*stop=3"):
        run([send(1, WHOLE)], [receive(0, Chunk(0, 3))])


@pytest.mark.parametrize(
    "step",
    [
        send(2, WHOLE),
        send(-1, WHOLE),
        receive(7, WHOLE),
        GroupCall("allreduced", PAIR, WHOLE),
        GroupCall("allreduce", (1,), WHOLE),
        GroupCall("allreduce", (0, 0), WHOLE),
        GroupCall("allreduce", (0, 2), WHOLE),
        GroupCall("allreduce", PAIR, WHOLE, root=0),
        GroupCall("reduce", PAIR, WHOLE),
        GroupCall("broadcast", PAIR, WHOLE, root=2),
    ],
    ids=str,
)
def test_a_step_that_cannot_be_is_rejected(step):
    with pytest.raises(WrongResult, match="rank 0 of 2 has the impossible step"):
        run([step], [])


def group_call(kind, root=None):
    call = GroupCall(kind, (2, 0, 1), WHOLE, root)
    return run([call], [call], [call])


def test_each_kind_of_group_call():
    # The pieces of four elements among ranks 2, 0 and 1 are [0, 2), [2, 3) and [3, 4).
    assert group_call("allreduce") == [[111] * 4] * 3
    assert group_call("broadcast", 1) == [[10] * 4] * 3
    assert group_call("allgather") == [[100, 100, 1, 10]] * 3
    assert group_call("reduce", 0)[0] == [111] * 4
    scattered = group_call("reduce_scatter")
    assert scattered[2][:2] == [111, 111]
    assert (scattered[0][2], scattered[1][3]) == (111, 111)


@pytest.mark.parametrize("combine", [np.minimum, np.maximum, np.multiply])
def test_other_operations_than_the_sum(combine):
    inputs = [np.array([3, 1, 2]) + rank for rank in range(4)]
    for name in ("ring", "torus2d", "native"):
        for output in world.allreduce(
            name, Topology.uniform(local=4), inputs, combine=combine
        ):
            np.testing.assert_array_equal(output, combine.reduce(inputs))


def test_the_inputs_are_left_alone():
    inputs = [np.ones(5), np.ones(5)]
    world.allreduce("ring", Topology.uniform(local=2), inputs)
    assert [data.tolist() for data in inputs] == [[1.0] * 5] * 2


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [np.ones(3)],
        [np.ones(3), np.ones(4)],
        [np.ones(3), np.ones(3, np.float32)],
        [np.ones((2, 2))] * 2,
        [np.ones(())] * 2,
    ],
    ids=["none", "too few", "sizes", "dtypes", "two axes", "no axis"],
)
def test_inputs_that_do_not_fit_are_refused(inputs):
    with pytest.raises(ShapeMismatch, match="one flat array a rank"):
        world.allreduce("ring", Topology.uniform(local=2), inputs)


def test_a_negative_count_is_refused():
    make = partial(world.schedules, "ring", Topology.uniform(local=2))
    with pytest.raises(InvalidArgument, match="-1 elements"):
        make(-1)
    assert [list(steps) for steps in make(0)] == [[], []]
