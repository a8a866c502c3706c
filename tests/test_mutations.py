"""The checker is checked: what is right passes, what was altered is rejected."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from layouts import layouts

from collectives import (
    Chunk,
    Deadlock,
    Exchange,
    GroupCall,
    Topology,
    WrongResult,
    algorithms,
    world,
)
from collectives.proof import prove
from collectives.step import KINDS, receive, send

FOUR = Topology.uniform(local=4)
NODES = Topology.uniform(nodes=2, local=2)


def programs(name, topology, count=13, *, lowered=False):
    """Return the steps of all ranks as lists, to be altered."""
    schedules = world.schedules(name, topology, count, lowered=lowered)
    return [list(steps) for steps in schedules]


def check(altered, topology, count=13):
    """Prove programs given as lists."""
    prove([iter(s) for s in altered], [iter(s) for s in altered], topology, count)


def rejected(altered, topology, error, match):
    with pytest.raises(error, match=match):
        check(altered, topology)


def test_what_was_not_altered_is_proved():
    for name in algorithms.names():
        check(programs(name, NODES), NODES)


def test_a_step_dropped_on_one_rank():
    altered = programs("ring", FOUR)
    del altered[2][1]
    rejected(altered, FOUR, WrongResult, "sends .* to rank .*, which expects")
    altered = programs("recursive_doubling", FOUR)
    del altered[2][1]
    rejected(altered, FOUR, Deadlock, "rank 0 waits in")


def test_a_step_dropped_on_all_ranks():
    altered = [steps[:1] for steps in programs("recursive_doubling", FOUR)]
    rejected(altered, FOUR, WrongResult, "of the result lacks ranks 2, 3")


def test_a_step_done_twice_on_one_rank():
    altered = programs("tree", FOUR)
    altered[3].insert(0, altered[3][0])
    rejected(altered, FOUR, Deadlock, "rank 3 waits in")


def test_a_step_done_twice_on_all_ranks():
    altered = programs("recursive_doubling", FOUR)
    altered = [[steps[0], *steps] for steps in altered]
    rejected(altered, FOUR, WrongResult, "in Exchange.*: counts twice: ranks 0, 1")


def test_two_chunks_swapped():
    altered = programs("ring", FOUR)
    one, two = altered[1][:2]
    altered[1][:2] = [one._replace(send=two.send), two._replace(send=one.send)]
    rejected(altered, FOUR, WrongResult, "rank 1 sends .* which expects")


def test_a_sum_that_replaces():
    altered = programs("ring", FOUR)
    altered[0][1] = altered[0][1]._replace(reduce=False)
    rejected(altered, FOUR, WrongResult, "element .* of the result lacks rank 0")


def test_a_replacement_that_adds():
    altered = programs("ring", FOUR)
    altered[0][-1] = altered[0][-1]._replace(reduce=True)
    rejected(altered, FOUR, WrongResult, "rank 0 in .* counts twice: rank")


@pytest.mark.parametrize("side", ["dst", "src"])
def test_a_wrong_peer(side):
    altered = programs("ring", FOUR)
    altered[0][0] = altered[0][0]._replace(**{side: 2})
    rejected(altered, FOUR, Deadlock, "4 of 4 ranks wait for ever")


def test_dependent_steps_in_the_wrong_order_on_one_rank():
    altered = programs("ring", FOUR)
    altered[0][0], altered[0][1] = altered[0][1], altered[0][0]
    rejected(altered, FOUR, WrongResult, "rank 0 sends .* which expects")


def test_dependent_steps_in_the_wrong_order_on_all_ranks():
    altered = programs("ring", FOUR)
    for steps in altered:
        steps[0], steps[1] = steps[1], steps[0]
    rejected(altered, FOUR, WrongResult, "of the result lacks rank")


def test_an_exchange_ahead_of_its_turn():
    altered = programs("recursive_doubling", FOUR)
    altered[0].reverse()
    rejected(altered, FOUR, WrongResult, "rank 1 in Exchange.*: counts twice")


def test_a_missing_allgather():
    for lowered in (False, True):
        altered = programs("split_rail", NODES, lowered=lowered)
        altered = [steps[:-1] for steps in altered]
        rejected(altered, NODES, WrongResult, "element 0 |element 7 ")


def test_a_missing_broadcast():
    altered = [steps[:-1] for steps in programs("hierarchical", NODES)]
    rejected(altered, NODES, WrongResult, "0 and 1 add element 0 in different ways")


def test_a_sum_of_what_a_group_call_left_undefined():
    whole = Chunk(0, 13)
    steps = [GroupCall("reduce_scatter", (0, 1), whole)]
    altered = [
        [*steps, Exchange(1 - rank, whole, 1 - rank, whole, reduce=True)]
        for rank in range(2)
    ]
    rejected(altered, Topology.uniform(local=2), WrongResult, "left undefined")


def dissemination():
    """Everybody adds what comes from the rank 1, then 2, to the left."""
    whole = Chunk(0, 13)
    return [
        [
            Exchange((rank + d) % 4, whole, (rank - d) % 4, whole, reduce=True)
            for d in (1, 2)
        ]
        for rank in range(4)
    ]


def test_own_first_order_makes_ranks_differ():
    rejected(dissemination(), FOUR, WrongResult, "0 and 1 add element 0 in different")
    # It is a matter of bits only: every rank does hold every contribution once.
    buffers = [np.full(13, x, np.float32) for x in (1e8, 3, 3, -1e8)]
    world.run([iter(s) for s in dissemination()], world.Arrays(buffers))
    assert len({buffer.tobytes() for buffer in buffers}) > 1


def test_a_cycle_of_sends_that_only_a_buffer_resolves():
    whole = Chunk(0, 13)
    altered = [
        [send((rank + 1) % 4, whole), receive((rank - 1) % 4, whole, reduce=True)]
        for rank in range(4)
    ]
    rejected(altered, FOUR, Deadlock, "4 of 4 ranks wait for ever without buffering")


@pytest.mark.parametrize("chunk", [Chunk(0, 12), Chunk(1, 13), Chunk(2, 7)])
def test_message_ranges_that_disagree(chunk):
    altered = programs("tree", FOUR)
    altered[3][0] = altered[3][0]._replace(send=chunk)
    rejected(altered, FOUR, WrongResult, f"rank 3 sends .*stop={chunk.stop}")


def test_elements_outside_the_buffer():
    longer = programs("ring", FOUR, count=17)
    rejected(longer, FOUR, WrongResult, r"steps name elements of \[0,17\)")


def test_group_calls_that_disagree():
    altered = programs("split_rail", NODES)
    altered[0][0] = altered[0][0]._replace(kind="allreduce")
    rejected(altered, NODES, Deadlock, "rank 0 waits in GroupCall.kind='allreduce'")


def test_a_root_that_changed():
    altered = programs("hierarchical", NODES)
    for rank in (0, 1):
        altered[rank][0] = altered[rank][0]._replace(root=1)
    rejected(altered, NODES, WrongResult, "undefined|lacks|different")


def alter(draw, steps, size):
    """Alter one step of one rank."""
    at = draw(st.integers(0, len(steps) - 1))
    step = steps[at]
    kinds = ["drop", "double", "later", "earlier", "shift"]
    if isinstance(step, GroupCall):
        kinds += ["kind", "group", "root"]
    else:
        kinds += ["reduce", "chunks", "dst", "src", "half"]
    kind = draw(st.sampled_from(kinds))
    rank = st.integers(0, size - 1)
    if kind == "drop":
        del steps[at]
    elif kind == "double":
        steps.insert(at, step)
    elif kind in ("later", "earlier"):
        to = (at + (1 if kind == "later" else -1)) % len(steps)
        steps[at], steps[to] = steps[to], step
    elif kind == "shift":
        field = "chunk" if isinstance(step, GroupCall) else "recv"
        start, stop = getattr(step, field)
        steps[at] = step._replace(**{field: Chunk(start, max(start, stop - 1))})
    elif kind == "kind":
        steps[at] = step._replace(kind=draw(st.sampled_from(KINDS)))
    elif kind == "group":
        steps[at] = step._replace(group=step.group[::-1])
    elif kind == "root":
        steps[at] = step._replace(root=draw(rank))
    elif kind == "reduce":
        steps[at] = step._replace(reduce=not step.reduce)
    elif kind == "chunks":
        steps[at] = step._replace(send=step.recv, recv=step.send)
    elif kind == "half":
        steps[at] = step._replace(dst=None)
    else:
        steps[at] = step._replace(**{kind: draw(rank)})


@settings(max_examples=400)
@given(st.data())
def test_an_altered_schedule_is_rejected_or_still_right(data):
    name = data.draw(st.sampled_from(algorithms.names()))
    size = data.draw(st.integers(2, 7))
    topology = data.draw(st.sampled_from(list(layouts(size))))
    assume(name != "shared" or len(topology.nodes) == 1)
    altered = programs(name, topology, lowered=data.draw(st.booleans()))
    seed = data.draw(st.integers(0, size - 1))
    ranks = range(size) if data.draw(st.booleans()) else [seed]
    if not all(altered[rank] for rank in ranks):
        return
    if len(ranks) == 1:
        alter(data.draw, altered[seed], size)
    else:
        at = data.draw(st.integers(0, min(map(len, altered)) - 1))
        everywhere = data.draw(st.sampled_from(["drop", "reduce", "last"]))
        for steps in altered:
            if everywhere == "drop":
                del steps[at]
            elif everywhere == "last":
                steps.append(steps.pop(at))
            elif isinstance(steps[at], Exchange):
                steps[at] = steps[at]._replace(reduce=not steps[at].reduce)
    try:
        check(altered, topology)
    except (WrongResult, Deadlock) as rejection:
        assert len(str(rejection)) > 20
        return
    # Accepted: then it must be right.  Contributions are digits, so none can be
    # missing, or there twice, without being seen.
    buffers = [np.full(13, 10**rank) for rank in range(size)]
    world.run([iter(steps) for steps in altered], world.Arrays(buffers))
    total = int("1" * size)
    assert [buffer.tolist() for buffer in buffers] == [[total] * 13] * size
