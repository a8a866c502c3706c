from hypothesis import given
from hypothesis import strategies as st

from collectives import Chunk, Exchange, GroupCall
from collectives.order import limited, pieces, waits
from collectives.step import NOTHING, read, receive, send, written


def test_a_send_waits_for_the_last_writer_of_its_elements():
    steps = [
        receive(1, Chunk(0, 4), reduce=True),
        receive(2, Chunk(0, 2), reduce=True),
        send(3, Chunk(0, 4)),
    ]
    found = waits(steps)
    assert found[2].to_read == (0, 1)
    assert found[1].to_write == (0,)


def test_a_receive_waits_for_readers_of_what_it_overwrites():
    steps = [send(1, Chunk(0, 4)), send(2, Chunk(2, 6)), receive(3, Chunk(3, 5))]
    assert waits(steps)[2].to_write == (0, 1)


def test_steps_that_touch_other_elements_wait_for_nothing():
    steps = [receive(1, Chunk(0, 4)), send(1, Chunk(4, 8)), receive(1, Chunk(8, 9))]
    assert all(w.to_read == w.to_write == () for w in waits(steps))


def test_a_group_call_reads_and_writes_its_chunk():
    steps = [
        receive(1, Chunk(0, 4)),
        GroupCall("allreduce", (0, 1), Chunk(2, 6)),
        send(1, Chunk(5, 7)),
    ]
    found = waits(steps)
    assert found[1].to_read == found[1].to_write == (0,)
    assert found[2].to_read == (1,)


ends = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(
    lambda e: Chunk(*sorted(e))
)
exchanges = st.builds(
    Exchange, st.sampled_from([None, 1, 2]), ends, st.sampled_from([None, 1, 2]), ends
)


@given(st.lists(exchanges, max_size=12))
def test_no_step_overtakes_one_that_it_overlaps(steps):
    steps = [
        s._replace(
            send=s.send if s.dst is not None else NOTHING,
            recv=s.recv if s.src is not None else NOTHING,
        )
        for s in steps
    ]
    # ``before[i]``: steps that have ended when all waits of step i are over.
    before_reading, before_writing = [], []
    for found in waits(steps):
        for side, mine in zip((before_reading, before_writing), found, strict=True):
            side.append(set(mine))
            for i in mine:
                side[-1] |= before_reading[i] | before_writing[i]
    for j, later in enumerate(steps):
        for i, earlier in enumerate(steps[:j]):
            if written(earlier).overlaps(read(later)):
                assert i in before_reading[j]
            if written(earlier).overlaps(written(later)):
                assert i in before_writing[j]
            if read(earlier).overlaps(written(later)):
                assert i in before_writing[j]


@given(st.lists(exchanges, max_size=6), st.integers(1, 5))
def test_a_step_that_is_cut_moves_the_same_elements_in_small_messages(steps, most):
    cut = list(limited(iter(steps), most))
    assert all(max(s.send.size, s.recv.size) <= max(most, 0) for s in cut)
    for peer in (1, 2):
        for side, who in (("send", "dst"), ("recv", "src")):
            moved, expected = (
                [
                    element
                    for step in program
                    if getattr(step, who) == peer
                    for element in range(*getattr(step, side))
                ]
                for program in (cut, steps)
            )
            assert moved == expected


def test_pieces_are_full_but_for_the_last():
    assert pieces(Chunk(3, 10), 3) == [Chunk(3, 6), Chunk(6, 9), Chunk(9, 10)]
    assert pieces(Chunk(3, 3), 3) == []
