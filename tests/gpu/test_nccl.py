"""NCCL on a GPU: alone, and between ranks that share it.

Ranks can share a GPU only if NCCL is told so before it is loaded.  So ``NCCL_SHARED``
in the environment asks for that, in a launch of these tests only: ``hosts``, where all
ranks take each other for ranks of other hosts, or ``together``, since NCCL 2.30.
"""

import contextlib
import os
import time

import numpy as np
import pytest
from device_cases import *  # noqa: F403 - the tests, over NCCL

from collectives.arrays import DTYPES
from collectives.chunk import Chunk
from collectives.device import Queue
from collectives.errors import UnsupportedArray
from collectives.step import GroupCall
from collectives.transports import bindings, seats
from collectives.transports.nccl import Nccl

pytestmark = [pytest.mark.mpi, pytest.mark.filterwarnings("ignore")]

SHARED = os.environ.get("NCCL_SHARED", "")
DEADLINE_S = 30.0
KINDS = ("allreduce", "reduce_scatter", "allgather", "reduce", "broadcast")
COUNTS = (1, 5, 4096, 100_003)
COMBINE = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


@pytest.fixture(scope="session")
def shared(mpi, cp):
    """Have NCCL take ranks that share a GPU; nothing has loaded it before."""
    if not SHARED:
        pytest.skip("ranks share a GPU over NCCL with NCCL_SHARED=hosts or together")
    if mpi.COMM_WORLD.size == 1:
        pytest.skip("one rank shares no GPU")
    os.environ |= {"NCCL_MAX_CTAS": "2", "NCCL_NET_GDR_LEVEL": "LOC"}
    if SHARED == "hosts":
        os.environ["NCCL_HOSTID"] = f"rank-{mpi.COMM_WORLD.rank}"
        os.environ |= {"NCCL_SOCKET_IFNAME": "lo", "NCCL_IB_DISABLE": "1"}
    else:
        os.environ["NCCL_MULTI_RANK_GPU_ENABLE"] = "1"
        if bindings.find().version() < seats.SEVERAL:
            pytest.skip("NCCL lets ranks share a GPU since 2.30")


def joined(cp, **options):
    """Return a communicator whose ranks NCCL joins."""
    from collectives import Communicator

    made = Communicator(timeout_s=DEADLINE_S, **options)
    made.allreduce(cp.ones(1, np.float32))
    assert made._end.device.engine is not None
    return made


@pytest.fixture(scope="module")
def comm(cp, shared):
    with joined(cp) as made:
        yield made


@pytest.fixture(scope="module")
def nodes(cp, comm):
    """Return a communicator whose ranks seem to be on two nodes."""
    from collectives import Topology

    if comm.size % 2 or comm.size < 4:
        pytest.skip("two nodes of two ranks or more are pretended")
    with joined(cp, topology=Topology.sized([comm.size // 2] * 2)) as made:
        yield made


def contribution(rank, count, name):
    values = (np.arange(count) * 2 + rank) % 3 + 1  # products of 4 ranks fit an int8
    if name == "bfloat16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(DTYPES[name].storage)


def plain(name, x):
    values = x.get()
    if name == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def call(comm, kind, x, name, op="sum", root=None):
    """Carry out a group call of all ranks."""
    group = GroupCall(kind, tuple(range(comm.size)), Chunk(0, x.size), root)
    engine = comm._end.device.engine
    with engine.queue.gpu:
        engine.queue.cuda.get_current_stream().synchronize()  # x is there
        steps = engine.start(group, x, DTYPES[name], op)
        end = time.monotonic() + DEADLINE_S
        while not steps.Test():
            assert time.monotonic() < end, f"{kind} has not ended"


@pytest.mark.parametrize("op", COMBINE)
@pytest.mark.parametrize("name", bindings.TYPES)
def test_every_type_is_combined_by_every_operation(comm, cp, name, op):
    for count in COUNTS:
        x = cp.asarray(contribution(comm.rank, count, name))
        call(comm, "allreduce", x, name, op)
        given = [contribution(r, count, "int32") for r in range(comm.size)]
        np.testing.assert_array_equal(plain(name, x), COMBINE[op].reduce(given))


@pytest.mark.parametrize("name", bindings.TYPES)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_kind_of_call_takes_even_and_uneven_pieces(comm, cp, kind, name):
    p, me = comm.size, comm.rank
    root = p - 1 if kind in ("reduce", "broadcast") else None
    for count in (*COUNTS, 12 * p):
        x = cp.asarray(contribution(me, count, name))
        call(comm, kind, x, name, root=root)
        found, pieces = plain(name, x), Chunk(0, count).split(p)
        given = [contribution(r, count, "int32") for r in range(p)]
        if kind == "reduce_scatter":
            mine = slice(*pieces[me])
            np.testing.assert_array_equal(found[mine], sum(given)[mine])
        elif kind == "allgather":
            every = [
                one[slice(*piece)] for one, piece in zip(given, pieces, strict=True)
            ]
            np.testing.assert_array_equal(found, np.concatenate(every))
        elif kind == "broadcast":
            np.testing.assert_array_equal(found, given[root])
        elif me == root:
            np.testing.assert_array_equal(found, sum(given))


@pytest.mark.parametrize("count", [1, 1000, 300_001])
@pytest.mark.parametrize(
    "algorithm", ["hierarchical", "pipelined", "split_rail", "torus2d"]
)
def test_nodes_are_joined_by_nccl_and_messages_go_between(nodes, cp, algorithm, count):
    for _ in range(3):
        x = cp.asarray(contribution(nodes.rank, count, "float32"))
        nodes.allreduce(x, out=x, algorithm=algorithm)
        given = [contribution(r, count, "float32") for r in range(nodes.size)]
        np.testing.assert_array_equal(x.get(), sum(given))
    assert nodes._end.device.engine.ticks > 0


def test_registered_arrays_are_summed(comm, cp):
    for count in (1 << 20, 300_001):
        x = comm.empty(count, np.float32, device="cuda")
        for _ in range(2):
            x[:] = comm.rank + 1
            comm.allreduce(x, out=x, algorithm="shared")
            assert (x == sum(range(1, comm.size + 1))).all()
        y = x if comm.rank else cp.empty_like(x)  # registered on some ranks only
        y[:] = 1
        comm.allreduce(y, out=y, algorithm="shared")
        assert (y == comm.size).all()
        del x, y
    comm.empty(1, device="cuda")  # frees what was dropped
    assert len(comm._end.device.engine.memory.blocks) <= 1


@pytest.fixture(params=bindings.LOADERS)
def binding(request, cp, monkeypatch):
    monkeypatch.setenv(bindings.VARIABLE, request.param)
    try:
        return bindings.find()
    except UnsupportedArray as error:
        pytest.skip(str(error))


@pytest.fixture
def alone(binding, cp):
    """Return a communicator of this rank only."""
    member = binding.join(1, binding.unique_id(), 0, cp.cuda.Device())
    wait(member)
    yield member
    with contextlib.suppress(RuntimeError):
        member.abort()


def wait(member):
    end = time.monotonic() + DEADLINE_S
    while not member.ready():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_one_rank_makes_all_calls(alone, binding, cp):
    x, stream = cp.arange(96, dtype=np.float32), cp.cuda.Stream(non_blocking=True)
    cp.cuda.get_current_stream().synchronize()
    at, how = x.data.ptr, (x.size, bindings.TYPES["float32"])
    for make in (
        lambda: alone.allreduce(at, *how, bindings.OPS["sum"], stream.ptr),
        lambda: alone.reduce(at, *how, bindings.OPS["max"], 0, stream.ptr),
        lambda: alone.broadcast(at, *how, 0, stream.ptr),
        lambda: alone.reduce_scatter(at, at, *how, bindings.OPS["min"], stream.ptr),
        lambda: alone.allgather(at, at, *how, stream.ptr),
    ):
        make()
        wait(alone)
        with binding.group():
            make()
        wait(alone)
    stream.synchronize()
    np.testing.assert_array_equal(x.get(), np.arange(96))


def test_one_rank_registers_memory(binding, cp, monkeypatch):
    class Nobody:
        rank, isend, irecv = 0, None, None

    engine = Nccl(Nobody, Queue(cp.cuda.Device().id))
    for _ in range(2):
        x = engine.empty(4 << 20)
        assert x is not None and x.nbytes == 4 << 20
        x = x.view(np.float32)
        x[:] = 3
        cp.cuda.get_current_stream().synchronize()
        group = GroupCall("allreduce", (0,), Chunk(0, x.size), None)
        steps = engine.start(group, x, DTYPES["float32"], "sum")
        end = time.monotonic() + DEADLINE_S
        while not steps.Test():
            assert time.monotonic() < end
        assert len(engine.memory.handles) == 1
        assert (x == 3).all()
        del x
        cp.cuda.get_current_stream().synchronize()
        engine.memory.collect()
        assert not engine.memory.blocks and not engine.memory.handles
    engine.close()


def test_joining_ranks_that_never_come_can_be_given_up(binding, cp):
    if binding.name == "cupy":
        pytest.skip("its thread would stay in NCCL while the process ends")
    member = binding.join(2, binding.unique_id(), 0, cp.cuda.Device())
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert not member.ready()
        time.sleep(0.01)
    member.abort()
