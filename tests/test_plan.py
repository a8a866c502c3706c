from collections import Counter

import pytest

from collectives import Chunk, Topology, algorithms, plan
from collectives.step import Exchange, receive, send


def plans(name, topology, count):
    return [
        plan.plan_for(topology, rank, name, "schedule", count, 4)
        for rank in range(topology.size)
    ]


@pytest.mark.parametrize("name", algorithms.names())
@pytest.mark.parametrize("sizes", [(5,), (2, 2), (3, 1, 2)], ids=str)
def test_the_kth_message_between_two_ranks_carries_the_same_tag_on_both_sides(
    name, sizes
):
    sent, received = Counter(), Counter()
    for rank, of_rank in enumerate(plans(name, Topology.sized(sizes), 37)):
        for step, send_tag, recv_tag, *_ in of_rank.tasks:
            if step.dst is not None:
                sent[rank, step.dst, send_tag, step.send] += 1
            if step.src is not None:
                received[step.src, rank, recv_tag, step.recv] += 1
    assert sent == received
    assert max(sent.values()) == 1


def test_a_plan_is_made_once_for_all_calls_of_its_kind():
    topology = Topology.uniform(local=4)
    first = plan.plan_for(topology, 1, "ring", "schedule", 100, 4)
    again = plan.plan_for(Topology.sized([4]), 1, "ring", "schedule", 100, 4)
    assert first is again
    assert plan.plan_for(topology, 1, "ring", "schedule", 101, 4) is not first


def test_segment_and_depth_change_the_plan_alike_on_all_ranks():
    def cut(rank):
        return plan.plan_for(
            Topology.uniform(local=3),
            rank,
            "ring",
            "schedule",
            30,
            4,
            segment=8,
            depth=7,
        )

    assert {cut(rank).depth for rank in range(3)} == {7}
    steps = [task.step for rank in range(3) for task in cut(rank).tasks]
    assert max(step.send.size for step in steps) == 2
    assert len({len(cut(rank).tasks) for rank in range(3)}) == 1


def test_group_calls_stay_where_an_engine_serves_them():
    topology = Topology.uniform(local=4)
    kept = plan.plan_for(
        topology, 1, "native", "schedule", 8, 4, engines=("allreduce",)
    )
    assert [task.step.kind for task in kept.tasks] == ["allreduce"]
    lowered = plan.plan_for(topology, 1, "native", "schedule", 8, 4)
    assert all(isinstance(task.step, Exchange) for task in lowered.tasks)


def test_tags_stay_below_their_bound(monkeypatch):
    monkeypatch.setattr(plan, "TAGS", 3)
    steps = (send(1, Chunk(i, i + 1)) for i in range(7))
    tags = [task.send_tag for task in plan.compiled(steps, 4).tasks]
    assert tags == [0, 1, 2, 0, 1, 2, 0]


def test_a_plan_knows_its_largest_message():
    steps = iter([receive(1, Chunk(0, 3)), send(1, Chunk(0, 9))])
    assert plan.compiled(steps, 4).largest == 9
    assert plan.compiled(iter(()), 4).largest == 0


def test_messages_are_segments_and_few_even_for_the_largest_buffer():
    for nbytes in (1, 4 << 20, 102_228_128, 48 << 30):
        count = -(-nbytes // 4)
        made = plan.plan_for(Topology.uniform(local=4), 0, "ring", "schedule", count, 4)
        assert len(made.tasks) <= 2 * plan.MOST_SEGMENTS
        most = max(plan.HOST.segment, -(-4 * count // plan.MOST_SEGMENTS))
        assert made.largest * 4 <= most
    plan.plan_for.cache_clear()


def test_no_message_has_more_bytes_than_mpi_can_count():
    count = 3 << 31
    large = plan.compiled(iter([send(1, Chunk(0, count))]), 8)
    assert len(large.tasks) == count * 8 // plan.MAX_MESSAGE
    for task in large.tasks:
        assert max(task.step.send.size, task.step.recv.size) * 8 <= plan.MAX_MESSAGE
