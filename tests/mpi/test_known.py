"""Calls like an earlier one, on one node: agreed on by a card, with little ado."""

import time

import numpy as np
import pytest

from collectives import CollectiveError, Communicator
from collectives.transports.few import FEW_BYTES, FEW_HALVES

pytestmark = pytest.mark.mpi

CALLS = 70  # more than there are places for data


@pytest.fixture
def own():
    """A communicator that a test may spoil."""
    with Communicator(timeout_s=2.0) as comm:
        yield comm


def mine(comm, count, i, dtype=np.float32):
    return ((np.arange(count) + comm.rank + i) % 7).astype(dtype)


def total(comm, count, i, dtype=np.float32):
    found = sum((np.arange(count) + rank + i) % 7 for rank in range(comm.size))
    return found.astype(dtype)


def counts(itemsize, most):
    return [1, 100, most // itemsize, most // itemsize + 1]


@pytest.mark.parametrize("algorithm", ["auto", "native"])
@pytest.mark.parametrize("count", counts(4, FEW_BYTES))
def test_the_next_call_is_right_too(comm, count, algorithm):
    out = np.empty(count, np.float32)
    for i in range(CALLS):
        x = mine(comm, count, i)
        comm.allreduce(x, out=out, algorithm=algorithm)
        np.testing.assert_array_equal(out, total(comm, count, i))
        comm.allreduce(x, out=x, algorithm=algorithm)
        np.testing.assert_array_equal(x, out)
        mean = comm.allreduce(mine(comm, count, i), "mean", algorithm=algorithm)
        np.testing.assert_allclose(mean, out / comm.size, rtol=1e-6)


@pytest.mark.parametrize("count", counts(2, FEW_HALVES))
def test_few_halves_are_rounded_once(comm, count):
    for i in range(CALLS):
        x = mine(comm, count, i, np.float16) + np.float16(1 / 1024)
        exact = sum(
            ((np.arange(count) + rank + i) % 7).astype(np.float16).astype(np.float32)
            + np.float32(1 / 1024)
            for rank in range(comm.size)
        )
        got = comm.allreduce(x)
        np.testing.assert_allclose(got.astype(np.float32), exact, rtol=2e-3)


@pytest.mark.parametrize("algorithm", ["auto", "native"])
def test_a_late_rank_is_waited_for(comm, algorithm):
    x = np.ones(3, np.float32)
    for late in range(min(comm.size, 3)):
        comm.allreduce(x, algorithm=algorithm)
        if comm.rank == late:
            time.sleep(0.05)
        assert comm.allreduce(x, algorithm=algorithm).tolist() == [comm.size] * 3


def test_an_interrupt_leaves_no_half_done_operation(own, monkeypatch, everywhere):
    x = np.ones(2, np.float32)
    own.allreduce(x)
    if own.size > 1:
        board = own._end.shared.board
        if own.rank == 0:

            def interrupted(number, code):
                raise KeyboardInterrupt

            monkeypatch.setattr(board, "seen", interrupted)
            with pytest.raises(KeyboardInterrupt):
                own.allreduce(x)
        with pytest.raises(CollectiveError):
            own.allreduce(x)
            own.allreduce(x)
    everywhere(None)
