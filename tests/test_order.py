from hypothesis import given
from hypothesis import strategies as st

from collectives import Chunk, Exchange, GroupCall
from collectives.order import fresh, limited, pieces, waits
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
    assert waits(steps)[2].to_free == (0, 1)


def test_steps_that_touch_other_elements_wait_for_nothing():
    steps = [receive(1, Chunk(0, 4)), send(1, Chunk(4, 8)), receive(1, Chunk(8, 9))]
    assert all(w == ((), (), ()) for w in waits(steps))


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
    # Halves of steps, ("wrote", i) and ("sent", i), that are over before those of j.
    over = {}
    for j, (step, found) in enumerate(zip(steps, waits(steps), strict=True)):
        halves = {("wrote", i) for i in found.to_read}
        over["sent", j] = halves.union(*(over[half] for half in halves))
        halves = {("wrote", i) for i in found.to_write}
        halves |= {("sent", i) for i in found.to_free}
        if step.send.overlaps(step.recv):
            halves.add(("sent", j))
        over["wrote", j] = halves.union(*(over[half] for half in halves))
    for j, later in enumerate(steps):
        for i, earlier in enumerate(steps[:j]):
            if written(earlier).overlaps(read(later)):
                assert ("wrote", i) in over["sent", j]
            if written(earlier).overlaps(written(later)):
                assert ("wrote", i) in over["wrote", j]
            if read(earlier).overlaps(written(later)):
                assert ("sent", i) in over["wrote", j]


def test_group_calls_wait_for_each_other():
    steps = [
        GroupCall("allreduce", (0, 1), Chunk(0, 2)),
        send(1, Chunk(4, 5)),
        GroupCall("allreduce", (0, 2), Chunk(2, 4)),
    ]
    assert waits(steps)[2].to_read == (0,)


@given(st.lists(st.tuples(exchanges, st.booleans()), max_size=12))
def test_taking_fresh_elements_from_the_input_is_like_copying_it_first(program):
    steps = [step._replace(reduce=reduce) for step, reduce in program]
    found, copies = fresh(steps, Chunk(0, 12))
    source, copied = list(range(12)), list(range(12))
    data = [None] * 12
    for chunk in copies:
        data[slice(*chunk)] = source[slice(*chunk)]
    for i, (step, (send_fresh, recv_fresh)) in enumerate(
        zip(steps, found, strict=True)
    ):
        sent, got = slice(*read(step)), slice(*written(step))
        assert (source if send_fresh else data)[sent] == copied[sent]
        if step.reduce:
            assert (source if recv_fresh else data)[got] == copied[got]
        data[got] = copied[got] = [(i, k) for k in range(*written(step))]
    assert data == copied


def test_a_ring_copies_nothing_before_it_begins():
    from collectives.algorithms import ring

    steps = list(ring.allreduce((0, 1, 2), 1, Chunk(0, 12)))
    found, copies = fresh(steps, Chunk(0, 12))
    assert copies == []
    assert [side.recv for side in found[:2]] == [True, True]


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


def test_pieces_are_few_and_about_equal():
    assert pieces(Chunk(3, 10), 4) == [Chunk(3, 7), Chunk(7, 10)]
    assert pieces(Chunk(3, 10), 3) == [Chunk(3, 6), Chunk(6, 8), Chunk(8, 10)]
    assert pieces(Chunk(3, 3), 3) == []
