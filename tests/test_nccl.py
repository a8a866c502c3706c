"""NCCL's engine on a stand-in that has NCCL's rules, through both packages."""

import random
import sys
import time

import fake_cupy
import fake_nccl
import numpy as np
import pytest
from fake_cupy import Gpu
from network import Network

from collectives import UnsupportedArray, device
from collectives.arrays import DTYPES
from collectives.chunk import Chunk
from collectives.step import GroupCall
from collectives.topology import Topology
from collectives.transports import bindings, nccl, registered, seats
from collectives.transports.nccl import Nccl
from collectives.transports.seats import Seat

FLOAT32 = DTYPES["float32"]
SIZES = (2, 4, 6)


@pytest.fixture
def gpu(monkeypatch):
    made = Gpu()
    fake_cupy.install(monkeypatch, made)
    return made


@pytest.fixture(params=["cupy", "nccl4py"])
def library(gpu, monkeypatch, request):
    return fake_nccl.install(monkeypatch, gpu, request.param)


class Ranks:
    """The engines of ranks that share this process."""

    def __init__(self, gpu, p, seed=0):
        gpu.random.seed(seed)
        self.p, self.random = p, random.Random(seed)
        network = Network(self.random)
        self.engines = [Nccl(network.point(r), device.Queue()) for r in range(p)]

    def array(self, rank, values):
        with self.engines[rank].queue.kernels:
            return fake_cupy.asarray(values)

    def start(self, kind, arrays, dtype=FLOAT32, op="sum", root=None):
        """Start a call of all ranks that have an array."""
        chunk = Chunk(0, arrays[0].size)
        call = GroupCall(kind, tuple(range(self.p)), chunk, root)
        return [
            self.engines[rank].start(call, x, dtype, op)
            for rank, x in enumerate(arrays)
        ]

    def advance(self, steps, looks=20_000):
        """Carry on in a random order; say whether all has ended."""
        for _ in range(looks):
            if all(one.complete for one in steps):
                return True
            self.random.choice(steps).Test()
        return False

    def call(self, kind, arrays, **options):
        assert self.advance(self.start(kind, arrays, **options))


def contribution(rank, count, dtype):
    values = (np.arange(count) * 3 + rank) % 5 + 1
    if dtype.name == "bfloat16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(dtype.storage)


def plain(dtype, x):
    values = x.get()
    if dtype.name == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


@pytest.mark.parametrize("name", bindings.TYPES)
def test_every_type_is_combined_by_every_operation(gpu, library, name):
    dtype, p, count = DTYPES[name], 3, 10
    values = [contribution(rank, count, DTYPES["int32"]) for rank in range(p)]
    ranks = Ranks(gpu, p)
    for op, combine in fake_nccl.UFUNCS.items():
        arrays = [ranks.array(r, contribution(r, count, dtype)) for r in range(p)]
        ranks.call("allreduce", arrays, dtype=dtype, op=op)
        for x in arrays:
            np.testing.assert_array_equal(plain(dtype, x), combine.reduce(values))


@pytest.mark.parametrize("count", [1, 2, 3, 12, 13])
@pytest.mark.parametrize("kind", ["reduce_scatter", "allgather", "reduce", "broadcast"])
def test_every_kind_of_call_is_right_for_even_and_uneven_pieces(
    gpu, library, kind, count
):
    p = 3
    root = 1 if kind in ("reduce", "broadcast") else None
    ranks = Ranks(gpu, p, seed=count)
    given = [contribution(rank, count, FLOAT32) for rank in range(p)]
    arrays = [ranks.array(rank, given[rank]) for rank in range(p)]
    ranks.call(kind, arrays, root=root)
    pieces = Chunk(0, count).split(p)
    gathered = np.concatenate([given[r][slice(*pieces[r])] for r in range(p)])
    for rank, x in enumerate(arrays):
        found, mine = x.get(), slice(*pieces[rank])
        if kind == "reduce_scatter":
            np.testing.assert_array_equal(found[mine], sum(given)[mine])
        elif kind == "allgather":
            np.testing.assert_array_equal(found, gathered)
        elif kind == "broadcast":
            np.testing.assert_array_equal(found, given[root])
        elif rank == root:
            np.testing.assert_array_equal(found, sum(given))


@pytest.mark.parametrize("p", SIZES)
def test_nobody_joins_before_all_have_the_id(gpu, library, p):
    ranks = Ranks(gpu, p)
    arrays = [ranks.array(r, np.ones(4, np.float32)) for r in range(p - 1)]
    assert not ranks.advance(ranks.start("allreduce", arrays), looks=3000)
    assert library.members == []


@pytest.mark.parametrize("p", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_who_waits_for_a_lost_rank_gives_up_and_refuses_what_follows(
    gpu, library, p, seed
):
    ranks = Ranks(gpu, p, seed)
    arrays = [ranks.array(r, np.ones(40, np.float32)) for r in range(p)]
    for kind in ("allreduce", "reduce_scatter"):
        ranks.call(kind, arrays)
    waiting = ranks.start("allgather", arrays[:-1])
    assert not ranks.advance(waiting, looks=2000)
    engines = ranks.engines[:-1]
    for engine in engines:
        engine.abort()
    assert library.aborts == p - 1
    for engine in engines:  # what follows on the GPU does not wait for ever
        engine.stream.synchronize()
    with pytest.raises(RuntimeError, match="has been aborted"):
        ranks.start("allreduce", arrays[:-1])


def test_joining_can_be_given_up_and_a_late_rank_finds_nobody(gpu, library):
    ranks = Ranks(gpu, 2)
    join = ranks.engines[1].binding.join
    late = []
    ranks.engines[1].binding.join = lambda *how: late.append(how) or Never()
    arrays = [ranks.array(r, np.ones(4, np.float32)) for r in range(2)]
    assert not ranks.advance(ranks.start("allreduce", arrays), looks=2000)
    ranks.engines[0].abort()  # does not wait for the other
    join(*late[0])
    end = time.monotonic() + 10
    while not library.aborts and time.monotonic() < end:
        time.sleep(0.01)
    assert library.aborts == 1
    assert next(m for m in library.members if m.rank == 0).aborted


class Never:
    """A member that does not get anywhere."""

    def ready(self):
        return False

    def abort(self):
        time.sleep(0.5)


def test_an_abort_that_does_not_end_is_left_alone(gpu, library, monkeypatch, caplog):
    monkeypatch.setattr(nccl, "ABORT_S", 0.05)
    ranks = Ranks(gpu, 1)
    ranks.engines[0].members[(0,)] = Never()
    ranks.engines[0].abort()
    assert "kill the process" in caplog.text


@pytest.mark.parametrize("status", [1, 5, fake_nccl.REMOTE, 8])
def test_what_nccl_reports_later_is_raised(gpu, library, status):
    ranks = Ranks(gpu, 2)
    arrays = [ranks.array(r, np.ones(4, np.float32)) for r in range(2)]
    ranks.call("allreduce", arrays)
    waiting = ranks.start("allreduce", arrays[:1])
    library.members[0].status = library.members[1].status = status
    with pytest.raises(RuntimeError, match=rf"{status}|has ended|not answered"):
        ranks.advance(waiting)


def test_a_call_that_fails_leaves_no_group_open(gpu, library):
    ranks = Ranks(gpu, 1)
    binding = ranks.engines[0].binding
    with pytest.raises(ZeroDivisionError), binding.group():
        raise ZeroDivisionError
    x = [ranks.array(0, np.ones(4, np.float32))]
    ranks.call("allreduce", x)
    np.testing.assert_array_equal(x[0].get(), 1)


def test_closing_destroys_the_communicators(gpu, library):
    ranks = Ranks(gpu, 2)
    arrays = [ranks.array(r, np.ones(4, np.float32)) for r in range(2)]
    ranks.call("allreduce", arrays)
    for engine in ranks.engines:
        engine.close()
    assert all(member.aborted for member in library.members)
    assert str(ranks.engines[0]).startswith("NCCL 2.30.4, by ")


@pytest.fixture
def all_sizes_count(monkeypatch):
    monkeypatch.setattr(registered, "LEAST", 1)


def pieces_of(ranks, nbytes=4096):
    """Return an array of each rank that its engine has allocated."""
    return [engine.empty(nbytes).view(np.float32) for engine in ranks.engines]


def fill(ranks, arrays):
    for engine, x in zip(ranks.engines, arrays, strict=True):
        with engine.queue.kernels:
            x.set(np.ones(x.size))


def known(library):
    return [len(member.registered) for member in library.members]


def test_memory_is_registered_where_all_ranks_use_it(gpu, library, all_sizes_count):
    ranks = Ranks(gpu, 3)
    arrays = pieces_of(ranks)
    fill(ranks, arrays)
    for part in (slice(0, 1024), slice(7, 100), slice(100, 101)):
        ranks.call("allreduce", [x[part] for x in arrays])
        assert known(library) == [1, 1, 1]
    ordinary = [ranks.array(r, np.ones(9, np.float32)) for r in range(3)]
    ranks.call("allreduce", ordinary)
    assert known(library) == [1, 1, 1]
    np.testing.assert_array_equal(arrays[0].get()[[0, 7, 100]], [3, 9, 9])


def test_small_calls_do_not_register(gpu, library):
    ranks = Ranks(gpu, 2)
    arrays = pieces_of(ranks)
    fill(ranks, arrays)
    ranks.call("allreduce", arrays)
    assert known(library) == [0, 0]


@pytest.mark.parametrize("before", [False, True], ids=["at first", "later"])
@pytest.mark.parametrize("how", ["ordinary", "offset", "block"])
def test_memory_that_differs_is_passed_unregistered_on_all_ranks(
    gpu, library, all_sizes_count, how, before
):
    ranks = Ranks(gpu, 3)
    arrays, others = pieces_of(ranks), pieces_of(ranks)
    fill(ranks, arrays)
    fill(ranks, others)
    if before:
        ranks.call("allreduce", arrays)
    mixed = [x[:100] for x in arrays]
    mixed[1] = {
        "ordinary": ranks.array(1, np.ones(100, np.float32)),
        "offset": arrays[1][100:200],
        "block": others[1][:100],
    }[how]
    for _ in range(2):  # the stand-in raises if some are registered
        ranks.call("allreduce", mixed)
        ranks.call("allreduce", arrays)
    assert known(library) == [0, 0, 0]


def test_memory_is_freed_when_its_arrays_are_gone(gpu, library, all_sizes_count):
    ranks = Ranks(gpu, 2)
    arrays, kept = pieces_of(ranks), pieces_of(ranks)
    fill(ranks, arrays)
    fill(ranks, kept)
    ranks.call("allreduce", arrays)
    ranks.call("allreduce", kept)
    assert known(library) == [2, 2]
    del arrays
    pieces_of(ranks)
    assert known(library) == [1, 1]
    fill(ranks, kept)
    ranks.call("allreduce", kept)
    np.testing.assert_array_equal(kept[0].get(), 2)
    for engine in ranks.engines:
        engine.close()
    assert len(library.memory) == 2  # the arrays that somebody still has


def test_use_of_memory_that_was_freed_is_found_out(gpu, library):
    ranks = Ranks(gpu, 1)
    address = pieces_of(ranks)[0].data.ptr
    ranks.engines[0].close()
    with pytest.raises(AssertionError, match="not in device memory"):
        gpu.at(address, 1, np.float32)


def test_memory_is_ordinary_where_nccl_has_none(gpu, library, monkeypatch, caplog):
    caplog.set_level("INFO", "collectives")
    monkeypatch.setattr(library, "ncclMemAlloc", lambda *_: 1)
    assert Ranks(gpu, 1).engines[0].empty(100) is None
    monkeypatch.setattr(registered, "nccl_library", lambda: None)
    for _ in range(2):
        engine = Ranks(gpu, 1).engines[0]
        assert engine.empty(100) is engine.empty(100) is None
    assert caplog.text.count("not registered") == 2
    assert Ranks(gpu, 1).engines[0].empty(0) is None


def test_only_one_mapped_library_that_can_register_is_called(monkeypatch):
    class Old:
        ncclCommInitRank = None  # noqa: N815

    monkeypatch.setattr(registered.mapped, "opened", lambda path: Old())
    for paths in ([], [("nccl", "/a")], [("nccl", "/a"), ("nccl", "/b")]):
        monkeypatch.setattr(registered.mapped, "paths", lambda paths=paths: paths)
        assert registered.nccl_library() is None
    for name in registered.FUNCTIONS:
        setattr(Old, name, None)
    assert registered.nccl_library() is None
    monkeypatch.setattr(registered.mapped, "paths", lambda: [("nccl", "/a")] * 2)
    assert type(registered.nccl_library()) is Old


NODE = Topology.sized([3])
A, B = Seat("a", 22809, ""), Seat("b", 22809, "")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([A, B, A._replace(gpu="c")], None),
        ([A, B, Seat("c", None, "no CuPy")], "rank 2: no CuPy"),
        ([A, B, Seat("c", 23004, "")], "NCCL is 2.28.9 on rank 0, 2.30.4 on rank 2"),
        ([A, B, A], "ranks 0 and 2 share a GPU: start all with NCCL_MULTI_RANK_GPU_EN"),
        ([A._replace(host=h) for h in "xyz"], None),
        ([A._replace(host=h) for h in "xyx"], "ranks 0 and 2 share"),
        ([A._replace(host=h) for h in ("x", "y", "")], "ranks 0 and 2 share"),
        ([A._replace(shares=True)] * 3, "ranks 0 and 1 share"),
        ([A._replace(shares=True, version=23004)] * 3, None),
        ([Seat("a", 23004, "", s) for s in (True, False, True)], "ranks 0 and 1"),
    ],
)
def test_ranks_share_a_gpu_only_if_all_say_so(found, reason):
    told = seats.unusable(found, NODE)
    assert told is None if reason is None else reason in told


def test_ranks_of_different_nodes_may_have_gpus_of_one_address():
    assert seats.unusable([A, B] * 2, Topology.sized([2, 2])) is None
    assert "nothing to join" in seats.unusable([A, A], Topology.sized([1, 1]))


def test_a_seat_tells_what_the_environment_says(gpu, library, monkeypatch):
    monkeypatch.setenv("NCCL_HOSTID", "rank-7")
    monkeypatch.setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1")
    found = seats.seat()
    assert found == Seat("0000:00:00.0", fake_nccl.VERSION, "", True, "rank-7")


def test_the_binding_that_is_installed_is_found(gpu, monkeypatch):
    fake_nccl.install(monkeypatch, gpu, "cupy")
    monkeypatch.delenv(bindings.VARIABLE)
    monkeypatch.setitem(sys.modules, "nccl", None)
    assert bindings.find().name == "cupy"
    fake_nccl.install(monkeypatch, gpu, "nccl4py")
    monkeypatch.delenv(bindings.VARIABLE)
    assert bindings.find().name == "nccl4py"


def test_what_keeps_a_binding_from_being_used_is_told(gpu, monkeypatch):
    fake_nccl.install(monkeypatch, gpu, "cupy")
    monkeypatch.setattr(sys.modules["cupy"], "__version__", "13.6.0")
    with pytest.raises(UnsupportedArray, match=r"CuPy 13\.6\.0 is too old.*pip inst"):
        bindings.find()
    monkeypatch.setattr(sys.modules["cupy"], "__version__", "14.0.0")
    monkeypatch.setattr(sys.modules["cupy.cuda.nccl"], "available", False)
    with pytest.raises(UnsupportedArray, match=r"finds no libnccl.*pip install"):
        bindings.find()
    monkeypatch.setenv(bindings.VARIABLE, "nccl4py")
    monkeypatch.setitem(sys.modules, "nccl", None)
    with pytest.raises(UnsupportedArray, match=r"nccl4py cannot be used.*pip install"):
        bindings.find()
    monkeypatch.setenv(bindings.VARIABLE, "cupy")
    monkeypatch.setattr(sys.modules["cupy.cuda.nccl"], "available", True)
    monkeypatch.delattr(sys.modules["cupy.cuda.nccl"], "get_version")
    with pytest.raises(UnsupportedArray, match="cupy: AttributeError"):
        bindings.find()
    monkeypatch.setenv(bindings.VARIABLE, "rccl")
    with pytest.raises(UnsupportedArray, match="choose from nccl4py, cupy"):
        bindings.find()


def members(library, unique, p):
    return [library.join(p, unique, rank) for rank in range(p)]


def test_calls_in_different_orders_wait_for_ever(gpu, library):
    streams = [fake_cupy.Stream(gpu) for _ in range(2)]
    data = [fake_cupy.empty(4, np.float32) for _ in range(2)]
    comms = [members(library, bytes([k]), 2) for k in range(2)]
    for rank in range(2):
        for k in (0, 1) if rank == 0 else (1, 0):
            at, stream = data[rank].ptr, streams[rank].ptr
            how = 4, fake_nccl.FLOAT32, None, 0, stream
            library.call(comms[k][rank], "broadcast", at, at, *how)
    with pytest.raises(AssertionError, match="for ever"):
        streams[0].synchronize()


def test_calls_that_differ_are_told(gpu, library):
    stream, x = fake_cupy.Stream(gpu), fake_cupy.empty(4, np.float32)
    one, other = members(library, b"9", 2)
    how = fake_nccl.FLOAT32, None, 0, stream.ptr
    library.call(one, "broadcast", x.ptr, x.ptr, 4, *how)
    with pytest.raises(AssertionError, match="differ"):
        library.call(other, "broadcast", x.ptr, x.ptr, 3, *how)
