"""NCCL's engine on a stand-in that has NCCL's rules, through both packages."""

import time

import fake_libnccl
import numpy as np
import pytest
from nccl_ranks import FLOAT32, Ranks

from collectives.arrays import DTYPES
from collectives.chunk import Chunk
from collectives.transports import bindings, nccl

SIZES = (2, 4, 6)


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
    for op, combine in fake_libnccl.UFUNCS.items():
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


@pytest.mark.parametrize("status", [1, 5, fake_libnccl.REMOTE, 8])
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
