"""Device arrays over staged messages, on a GPU that tells what is not in order."""

import random
import sys

import fake_cupy
import fake_gpu
import fake_nccl
import numpy as np
import pytest
from fake_cupy import Race
from fake_wire import Aware, Watched
from network import Network, run

from collectives import algorithms, device
from collectives.algorithms import pipelined
from collectives.arrays import DTYPES
from collectives.device_side import DeviceSide
from collectives.executor import Execution
from collectives.plan import plan_for
from collectives.reduction import Reduction
from collectives.topology import Topology
from collectives.transports import nccl
from collectives.transports.direct import Direct
from collectives.transports.staged import Staged

ALGORITHMS = [n for n in algorithms.names() if n not in ("native", "shared")]
LEVELS = ("hierarchical", "pipelined", "pipelined_torus2d", "split_rail")
SEEDS = range(5)


def contribution(rank, count, dtype=np.float32):
    return ((np.arange(count) * 3 + rank) % 11).astype(dtype)


def allreduce(
    gpu,
    algorithm,
    p,
    count,
    seed,
    *,
    dtype="float32",
    in_place=True,
    engine=False,
    direct=False,
    overlap="staged",
    together=None,
):
    """Sum on ``p`` ranks, all in this process; return everybody's result.

    ``engine``: nodes have NCCL; ``direct``: MPI takes device memory; ``together``
    receives the ranks that had messages and NCCL at work at the same time.
    """
    gpu.random.seed(seed)
    gpu.streams[:] = [gpu.default]  # those of earlier runs have nothing to do
    network, topology = Network(random.Random(seed)), Topology.sized([p])
    ids = Network(random.Random(seed))
    if algorithm in LEVELS and p % 2 == 0:
        topology = Topology.sized([p // 2, p // 2])
    kind = DTYPES[dtype]
    running, results = [], []
    for rank in range(p):
        plan = plan_for(
            topology,
            rank,
            algorithm,
            "schedule",
            count,
            kind.itemsize,
            engines=nccl.Nccl.kinds if engine else (),
            segment=64,
        )
        stream = fake_cupy.Stream(gpu)  # the caller's
        with stream:
            x = fake_cupy.asarray(contribution(rank, count, kind.storage))
            out = x if in_place else fake_cupy.empty(count, kind.storage)
            queue = device.Queue()
            point = Staged(Watched(network.point(rank), gpu), queue)
            if direct:
                point = Direct(Aware(network.point(rank), gpu), queue)
            node = nccl.Nccl(ids.point(rank), queue) if engine else None
            if together is not None:
                watch_both(point, node, together)
            plan = DeviceSide(None, "auto", overlap).in_turn(plan)
            execution = Execution(plan, out, kind, "sum", point, source=x, engine=node)
            steps = device.Ordered(queue, device.caller(x), iter(execution), x)
        running.append(steps)
        results.append((steps, out))
    run(running, random.Random(seed), most=200_000)
    found = []
    for steps, out in results:
        with fake_cupy.Stream(gpu):  # whoever takes the result
            steps.hand_over()
            found.append(out.get())
    return found


def look_away(monkeypatch, where):
    """Have the host take events for there that it asks for in a function."""
    runtime = sys.modules["cupy"].cuda.runtime
    query = runtime.eventQuery

    def sometimes(event):
        asks = sys._getframe(2).f_code.co_name  # behind `device.reached`
        return 0 if asks == where else query(event)

    monkeypatch.setattr(runtime, "eventQuery", sometimes)


def leave_out(monkeypatch, where, nth=0):
    """Have a stream not wait where it is told to, by line in the function."""
    wait = fake_cupy.Stream.wait_event
    lines = []

    def sometimes(self, event):
        frame = sys._getframe(1)
        if frame.f_code.co_name == where:
            if frame.f_lineno not in lines:
                lines.append(frame.f_lineno)
                lines.sort()
            if lines.index(frame.f_lineno) == nth:
                return
        wait(self, event)

    monkeypatch.setattr(fake_cupy.Stream, "wait_event", sometimes)


def watch_both(point, node, together):
    """Note when requests of messages and of NCCL are open at the same time."""
    under_way = {point: [], node: []}
    started = {"isend": point.isend, "irecv": point.irecv, "start": node.start}
    for owner, names in ((point, ("isend", "irecv")), (node, ("start",))):
        for name in names:

            def begin(*args, owner=owner, start=started[name]):
                request = start(*args)
                under_way[owner].append(request)
                if all(
                    any(not request.complete for request in requests)
                    for requests in under_way.values()
                ):
                    together.add(point.rank)
                return request

            setattr(owner, name, begin)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("p", [2, 4, 6])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_schedule_is_in_order_and_right(gpu, algorithm, p, in_place):
    for seed, count in zip(SEEDS, (1, 7, 50, 100, 333), strict=True):
        expected = sum(contribution(rank, count) for rank in range(p))
        for found in allreduce(gpu, algorithm, p, count, seed, in_place=in_place):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("p", [2, 3, 6])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_mpi_may_take_device_memory(gpu, algorithm, p):
    for seed, count in zip(SEEDS, (1, 7, 50, 100, 333), strict=True):
        expected = sum(contribution(rank, count) for rank in range(p))
        for found in allreduce(gpu, algorithm, p, count, seed, direct=True):
            np.testing.assert_array_equal(found, expected)


def test_memory_given_to_mpi_too_early_is_found_out(gpu, monkeypatch):
    look_away(monkeypatch, "pass_on")
    with pytest.raises(Race):
        for seed in range(20):
            allreduce(gpu, "ring", 3, 100, seed, direct=True)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("p", [2, 4, 6])
@pytest.mark.parametrize("algorithm", [*LEVELS, "shared"])
def test_nodes_with_nccl_are_in_order_and_right(gpu, library, algorithm, p, in_place):
    for seed, count in zip(SEEDS, (1, 7, 50, 100, 333), strict=True):
        expected = sum(contribution(rank, count) for rank in range(p))
        for found in allreduce(
            gpu, algorithm, p, count, seed, in_place=in_place, engine=True
        ):
            np.testing.assert_array_equal(found, expected)


def test_the_pipeline_has_several_segments_under_way(gpu, library, monkeypatch):
    monkeypatch.setattr(pipelined, "SEGMENT", 40)
    for seed in SEEDS:
        expected = sum(contribution(rank, 333) for rank in range(6))
        for found in allreduce(gpu, "pipelined", 6, 333, seed, engine=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("overlap", ["staged", "off"])
@pytest.mark.parametrize("algorithm", ["pipelined", "pipelined_torus2d"])
def test_nccl_and_messages_meet_unless_they_may_not(
    gpu, library, monkeypatch, algorithm, overlap
):
    monkeypatch.setattr(pipelined, "SEGMENT", 40)
    together = set()
    for seed in SEEDS:
        expected = sum(contribution(rank, 333) for rank in range(6))
        for found in allreduce(
            gpu,
            algorithm,
            6,
            333,
            seed,
            engine=True,
            direct=overlap == "off",
            overlap=overlap,
            together=together,
        ):
            np.testing.assert_array_equal(found, expected)
    assert bool(together) == (overlap == "staged")


WAITS = {  # where a stream is told to wait, by line in the function
    "our kernels for the caller's stream": ("surrounded", 0),
    "the copy down for kernels": ("send", 0),
    "the copy up for kernels": ("receive", 0),
    "kernels for the copy up": ("receive", 1),
    "NCCL for kernels": ("carry_out", 0),
    "whoever takes the result": ("hand_over", 0),
}
LOOKS = {  # where the host asks whether an event has come
    "the end of the copy down, before MPI sends": "send",
    "the end of the copy up, before MPI writes there again": "take",
    "the end of NCCL's call, before kernels and copies": "carry_out",
}


@pytest.fixture
def race_engine(gpu, monkeypatch):
    return fake_nccl.install(monkeypatch, gpu)


def races(gpu):
    """Say whether a race is found in one of some runs."""
    for seed in range(20):
        for algorithm in ("ring", "tree", "split_rail"):
            try:
                allreduce(gpu, algorithm, 4, 200, seed, in_place=False, engine=True)
            except Race:
                return True
    return False


def test_with_all_waits_there_is_no_race(gpu, race_engine):
    assert not races(gpu)


@pytest.mark.parametrize("what", WAITS)
def test_a_stream_that_does_not_wait_is_found_out(gpu, race_engine, monkeypatch, what):
    leave_out(monkeypatch, *WAITS[what])
    assert races(gpu)


@pytest.mark.parametrize("what", LOOKS)
def test_a_host_that_does_not_look_is_found_out(gpu, race_engine, monkeypatch, what):
    look_away(monkeypatch, LOOKS[what])
    assert races(gpu)


def drop_and_write(gpu, kept):
    """Drop the input of an operation that has ended, and use its memory again."""
    stream, queue = fake_cupy.Stream(gpu), device.Queue()
    for _ in range(20):
        with stream:
            x = fake_cupy.asarray(np.ones(9, np.float32))
            result = fake_cupy.empty(9, np.float32)
            steps = (result.__setitem__(slice(0, 9), x) for _ in range(1))
            steps = device.Ordered(queue, device.caller(x), steps, x if kept else None)
        list(steps)
        del x
        with stream:
            fake_cupy.asarray(np.zeros(9, np.float32))
            steps.hand_over()
            np.testing.assert_array_equal(result.get(), 1)


def test_an_input_is_held_until_the_result_is_taken(gpu):
    drop_and_write(gpu, kept=True)
    with pytest.raises(Race, match="set"):
        drop_and_write(gpu, kept=False)


def drop_untaken(gpu):
    """Drop the result of an operation that has ended, and use its memory again."""
    stream, queue = fake_cupy.Stream(gpu), device.Queue()
    for _ in range(20):
        with stream:
            x = fake_cupy.asarray(np.ones(9, np.float32))
            steps = (x.__setitem__(slice(0, 9), x) for _ in range(1))
            steps = device.Ordered(queue, device.caller(x), steps, x)
        list(steps)
        del x, steps
        with stream:
            fake_cupy.asarray(np.zeros(9, np.float32))


def test_a_result_that_nobody_takes_is_let_go_in_order(gpu, monkeypatch):
    drop_untaken(gpu)
    leave_out(monkeypatch, "let_go")
    with pytest.raises(Race, match="set"):
        drop_untaken(gpu)


def result_where_another_was(gpu):
    """Take memory for a result that the caller's stream may still read."""
    stream, queue = fake_cupy.Stream(gpu), device.Queue()

    def copied(x, results):
        results.append(device.empty(9, np.float32))
        results[0][:] = x
        yield 0

    for _ in range(20):
        results = []
        with stream:
            x = fake_cupy.asarray(np.ones(9, np.float32))
            earlier = fake_cupy.asarray(np.zeros(9, np.float32))
            steps = device.Ordered(queue, device.caller(x), copied(x, results), x)
            seen = fake_cupy.empty(9, np.float32)
            seen[:] = earlier  # the operation does not wait for what comes after it
            address = earlier.ptr
            del earlier
        list(steps)
        assert results[0].ptr == address
        with stream:
            steps.hand_over()
            np.testing.assert_array_equal(results[0].get(), 1)
            np.testing.assert_array_equal(seen.get(), 0)


def test_new_memory_waits_for_what_its_stream_still_does_to_it(gpu, monkeypatch):
    result_where_another_was(gpu)
    leave_out(monkeypatch, "empty")
    with pytest.raises(Race, match="copy"):
        result_where_another_was(gpu)


@pytest.mark.parametrize(
    ("dtype", "wire"),
    [("float32", "float16"), ("float32", "bfloat16"), ("float16", "float32")],
)
def test_temporaries_do_not_wait_for_what_the_caller_does_next(gpu, dtype, wire):
    kind, queue = DTYPES[dtype], device.Queue()
    reduction = Reduction.of("sum", kind, 2, wire=wire)

    def alone(x):
        reduction.finish(reduction.working(x, x), x)
        yield 0

    stream, never = fake_cupy.Stream(gpu), fake_gpu.Mark()
    with stream:
        x = fake_cupy.asarray(np.arange(9).astype(kind.storage))
        steps = device.Ordered(queue, device.caller(x), alone(x), x)
    stream.put(lambda: None, waits=never)  # a backward pass, say
    list(steps)
    queue.kernels.synchronize()  # raises if it waits for ever
    assert device.reached(steps.ended)
    never.reached = True
    with stream:
        steps.hand_over()
        np.testing.assert_array_equal(x.get(), np.arange(9))
