import pytest

from collectives import Chunk, Exchange, GroupCall
from collectives.step import NOTHING, moving, read, receive, send, written

A, B, EMPTY = Chunk(0, 2), Chunk(2, 4), Chunk(3, 3)


def test_what_is_not_empty_moves_unchanged():
    steps = [Exchange(1, A, 2, B, True), send(1, A), receive(2, B, reduce=True)]
    steps += [GroupCall("reduce", (0, 1), A, root=1)]
    assert list(moving(steps)) == steps


@pytest.mark.parametrize(
    "step",
    [
        Exchange(1, EMPTY, 2, EMPTY, True),
        send(1, EMPTY),
        receive(2, EMPTY),
        Exchange(None, A, None, B),
        GroupCall("allgather", (0, 1), EMPTY),
        GroupCall("allreduce", (0,), A),
    ],
)
def test_a_step_that_moves_no_element_is_dropped(step):
    assert list(moving([step])) == []


def test_each_half_of_an_exchange_is_dropped_by_itself():
    assert list(moving([Exchange(1, A, 2, EMPTY)])) == [Exchange(1, A, None, EMPTY)]
    (left,) = moving([Exchange(1, EMPTY, 2, B, True)])
    assert left == Exchange(None, EMPTY, 2, B, True)


def test_both_sides_of_an_empty_message_drop_it():
    ours = list(moving([Exchange(1, EMPTY, 1, A)]))
    theirs = list(moving([Exchange(0, A, 0, EMPTY)]))
    assert ours[0].dst is None
    assert theirs[0].src is None
    assert (ours[0].src, theirs[0].dst) == (1, 0)


def test_moving_takes_steps_one_at_a_time():
    def endless():
        while True:
            yield send(1, A)

    assert next(moving(endless())) == send(1, A)


def test_a_step_reads_what_it_sends_and_writes_what_it_receives():
    step = Exchange(1, A, 2, B)
    assert (read(step), written(step)) == (A, B)
    assert (read(send(1, A)), written(send(1, A))) == (A, NOTHING)
    assert (read(receive(1, B)), written(receive(1, B))) == (NOTHING, B)


def test_a_group_call_reads_and_writes_its_chunk():
    call = GroupCall("allgather", (0, 1), B)
    assert (read(call), written(call)) == (B, B)
