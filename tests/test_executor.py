import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network import Network, run

from collectives import Topology, algorithms, plan
from collectives.arrays import DTYPES
from collectives.executor import Execution
from collectives.order import Waits

F32 = DTYPES["float32"]
LAYOUTS = [(1,), (2,), (3,), (4,), (5,), (8,), (1, 3), (2, 2), (3, 2, 1), (4, 4)]


def plans(name, topology, count, depth, itemsize=4):
    return [
        plan.plan_for(topology, rank, name, "schedule", count, itemsize)._replace(
            depth=depth
        )
        for rank in range(topology.size)
    ]


def inputs_of(size, count):
    """Small integers that differ everywhere: any order of summation is exact."""
    return [
        ((np.arange(count) * (rank + 3) + rank) % 11 + 1).astype(np.float32)
        for rank in range(size)
    ]


def reduce_all(
    all_plans, seed, dtype=F32, wire=None, inputs=None, count=0, apart=False
):
    """Run the plans of all ranks on a random network; return what each ends with."""
    chance, size = random.Random(seed), len(all_plans)
    network = Network(chance)
    data = [x.copy() for x in inputs or inputs_of(size, count)]
    sources = [None] * size
    if apart:
        sources, data = data, [np.full_like(x, np.nan) for x in data]
        for source in sources:
            source.flags.writeable = False
    executions = [
        Execution(p, x, dtype, "sum", network.point(rank), wire=wire, source=source)
        for rank, (p, x, source) in enumerate(
            zip(all_plans, data, sources, strict=True)
        )
    ]
    run(executions, chance)
    assert network.unfinished == 0
    return data


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("name", algorithms.names())
def test_the_sum_is_exact_whatever_order_messages_complete_in(name, depth):
    for sizes in LAYOUTS:
        topology = Topology.sized(sizes)
        for count in (0, 1, topology.size - 1, 3 * topology.size + 1):
            everybody = plans(name, topology, count, depth)
            expected = sum(inputs_of(topology.size, count), np.zeros(count, np.float32))
            for got in reduce_all(everybody, seed=count, count=count):
                np.testing.assert_array_equal(got, expected, strict=True)


@settings(deadline=None, max_examples=150)
@given(
    name=st.sampled_from(algorithms.names()),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    count=st.integers(0, 60),
    depth=st.integers(1, 9),
    apart=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_the_sum_is_exact_on_any_layout(name, sizes, count, depth, apart, seed):
    topology = Topology.sized(sizes)
    everybody = plans(name, topology, count, depth)
    expected = sum(inputs_of(topology.size, count), np.zeros(count, np.float32))
    for got in reduce_all(everybody, seed, count=count, apart=apart):
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("segment", [1, 3])
def test_pipelined_segments_stay_exact_with_many_in_flight(monkeypatch, segment):
    for module in ("pipelined", "rank_order"):
        monkeypatch.setattr(algorithms.load(module), "SEGMENT", segment)
    for name in ("pipelined", "rank_order"):
        topology = Topology.sized([2, 3])
        plan.plan_for.cache_clear()
        everybody = plans(name, topology, 31, 8)
        for seed in range(20):
            for got in reduce_all(everybody, seed, count=31):
                np.testing.assert_array_equal(got, sum(inputs_of(5, 31)))
    plan.plan_for.cache_clear()


@pytest.mark.parametrize("name", algorithms.names())
def test_messages_above_the_largest_are_split_and_the_sum_stays_exact(
    monkeypatch, name
):
    monkeypatch.setattr(plan, "MAX_MESSAGE", 12)
    plan.plan_for.cache_clear()
    everybody = plans(name, Topology.sized([3, 2]), 61, 4)
    plan.plan_for.cache_clear()
    assert max(p.largest for p in everybody) <= 3
    for got in reduce_all(everybody, seed=5, count=61):
        np.testing.assert_array_equal(got, sum(inputs_of(5, 61)), strict=True)


@pytest.mark.parametrize("name", [n for n in algorithms.names() if n != "native"])
@pytest.mark.parametrize("wire", ["float16", "bfloat16"])
def test_a_narrow_wire_leaves_the_same_bits_on_all_ranks(name, wire):
    rng = np.random.default_rng(7)
    for sizes in LAYOUTS:
        topology = Topology.sized(sizes)
        inputs = [rng.normal(size=53).astype(np.float32) for _ in range(topology.size)]
        everybody = plans(name, topology, 53, 4)
        ends = reduce_all(everybody, 3, wire=DTYPES[wire], inputs=inputs)
        for rank, got in enumerate(ends):
            # The executor rounds what it sends; an owner rounds its part in the end.
            ends[rank] = rounded(got, DTYPES[wire])
        for got in ends:
            np.testing.assert_array_equal(got, ends[0], strict=True)


def rounded(data, wire):
    from collectives.ops import convert

    narrow, wide = np.empty(data.size, wire.storage), np.empty_like(data)
    convert(F32, data, wire, narrow)
    convert(wire, narrow, F32, wide)
    return wide


@pytest.mark.parametrize("name", ["ring", "rank_order", "halving_doubling", "torus2d"])
def test_a_wait_that_is_missing_is_found_out(monkeypatch, name):
    if name == "rank_order":
        monkeypatch.setattr(algorithms.load(name), "SEGMENT", 2)
        plan.plan_for.cache_clear()
    topology, count = Topology.uniform(local=4), 16
    everybody = plans(name, topology, count, 8)
    plan.plan_for.cache_clear()
    expected = sum(inputs_of(4, count))
    caught = 0
    for rank, i, without in one_wait_less(everybody):
        mutant = everybody.copy()
        tasks = list(mutant[rank].tasks)
        tasks[i] = tasks[i]._replace(waits=without)
        mutant[rank] = mutant[rank]._replace(tasks=tuple(tasks))
        caught += any(goes_wrong(mutant, seed, count, expected) for seed in range(12))
    assert caught > 0


def one_wait_less(everybody):
    """Yield rank, place and the waits of a task, with one of them left out."""
    for rank, of_rank in enumerate(everybody):
        for i, task in enumerate(of_rank.tasks):
            for field in Waits._fields:
                waits = getattr(task.waits, field)
                for j in range(len(waits)):
                    fewer = waits[:j] + waits[j + 1 :]
                    yield rank, i, task.waits._replace(**{field: fewer})


def goes_wrong(everybody, seed, count, expected):
    ends = reduce_all(everybody, seed, count=count)
    return not all(np.array_equal(got, expected) for got in ends)


@pytest.mark.parametrize("wire", [None, "float16"])
def test_a_plan_that_runs_again_allocates_no_message(wire):
    count = 4 << 18
    everybody = plans("ring", Topology.uniform(local=4), count, 2)
    chance = random.Random(1)
    network = Network(chance)
    points = [network.point(rank) for rank in range(4)]
    data = inputs_of(4, count)
    for _ in range(2):
        tracemalloc.start()
        executions = [
            Execution(p, x, F32, "sum", point, wire=wire and DTYPES[wire])
            for p, x, point in zip(everybody, data, points, strict=True)
        ]
        run(executions, chance)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert all(len(point.scratch.kept) <= 2 + 3 * bool(wire) for point in points)
    assert peak < everybody[0].largest * (2 if wire else 4)


def test_the_report_of_a_stall_says_where_the_rank_waits():
    everybody = plans("ring", Topology.uniform(local=3), 9, 2)
    network = Network(random.Random(0))
    execution = Execution(everybody[1], np.zeros(9), F32, "sum", network.point(1))
    next(iter(execution))
    assert execution.position().startswith("0 of 4 steps done, waits in step 1 for ")
    assert "rank 0 to send and rank 2 to receive" in execution.position()
