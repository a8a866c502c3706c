"""Memory that is registered with NCCL, on a stand-in that wants all ranks alike."""

import threading

import numpy as np
import pytest
from fake_gpu import ILLEGAL_ADDRESS
from nccl_ranks import Ranks

from collectives.transports import registered


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
    assert not any(engine.memory.handles for engine in ranks.engines)
    assert len(library.memory) == 2  # the arrays that somebody still has
    kept.pop()
    assert len(library.memory) == 1
    thread = threading.Thread(target=kept.clear)  # where does not matter
    thread.start()
    thread.join()
    assert not library.memory


def test_a_gpu_that_failed_is_told_to_nobody_who_drops_an_array(gpu, library):
    ranks = Ranks(gpu, 1)
    arrays = pieces_of(ranks)
    ranks.engines[0].close()
    gpu.error = ILLEGAL_ADDRESS
    arrays.clear()  # an exception that nobody can catch would be a warning
    assert library.memory


def test_ranks_may_drop_their_arrays_at_different_times(gpu, library, monkeypatch):
    monkeypatch.setattr(registered, "LEAST", 4096)
    ranks = Ranks(gpu, 2)
    arrays = pieces_of(ranks)
    fill(ranks, arrays)
    ranks.call("allreduce", arrays)
    arrays[0] = None  # rank 1 keeps its own
    others = pieces_of(ranks)
    assert sorted(known(library)) == [0, 1]
    small = [ranks.array(r, np.ones(9, np.float32)) for r in range(2)]
    ranks.call("allreduce", small)  # they agree whether to agree on places
    np.testing.assert_array_equal(small[0].get(), 2)
    fill(ranks, others)
    ranks.call("allreduce", [others[0], arrays[1]])
    assert known(library) == [0, 0]


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
