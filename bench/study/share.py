"""Share: hand runs out to the ranks, and learn one learner's equality with several.

Ranks take a run each, of alike cost, and give the outcomes to rank 0, which alone
writes.  The demonstration trains one learner whose gradients our allreduce adds, and
the same one alone, with virtual workers.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from collectives import Communicator

from . import glyphs, order
from .arms import LARS_RATES, RATES, Rates
from .task import DATA_SEED, HELD_OUT, NOISE, Data
from .train import Learner, Outcome, Run, train

UPDATES, BATCH, COUNT = 8, 256, 1024  # of the demonstration
TIMEOUT_S = 3600.0  # a rank may wait for another one's run


class Alone:
    """What a single process has for a communicator."""

    rank, size = 0, 1

    def gather(self, value: Any) -> list[Any]:
        """Return all ranks' values."""
        return [value]

    def bcast(self, value: Any) -> Any:
        """Return rank 0's value."""
        return value


class Equality(NamedTuple):
    """How far the weights of a distributed learner are from those of a lone one."""

    ranks: int
    updates: int
    batch: int
    largest_difference: float  # relative to the largest weight
    loss: float


def world() -> Any:
    """Return MPI's world, or `Alone` where there is no mpi4py."""
    try:
        from mpi4py import MPI
    except ImportError:
        return Alone()
    return MPI.COMM_WORLD


def carry_out(
    runs: Sequence[Run], data: Data, mpi: Any, finished: Callable[[Outcome], None]
) -> list[Outcome]:
    """Make all runs; return the outcomes on all ranks; tell each on rank 0."""
    outcomes: list[Outcome] = []
    for start in range(0, len(runs), mpi.size):
        mine = runs[start : start + mpi.size][mpi.rank : mpi.rank + 1]
        found = mpi.gather([train(run, data) for run in mine])
        for outcome in sum(mpi.bcast(found), []):
            outcomes.append(outcome)
            if mpi.rank == 0:
                finished(outcome)
    return outcomes


def demonstrate(mpi: Any) -> Equality:
    """Train M5 over all ranks and alone, in float64; all ranks call it.

    The order of summation differs, so the weights agree up to rounding.
    """
    rates = Rates(RATES[len(RATES) // 2], LARS_RATES[len(LARS_RATES) // 2])
    run = Run("M5", BATCH, HELD_OUT, rates, epochs=UPDATES)
    pictures = glyphs.make(0, COUNT, seed=DATA_SEED, noise=NOISE)
    with Communicator(mpi, timeout_s=TIMEOUT_S) as comm:
        part = comm.rank, comm.size
        shared = Learner(run, dtype=np.float64, part=part, reduce=comm.allreduce)
        alone = Learner(run, dtype=np.float64)
        for i in range(UPDATES):
            plan = order.batches(COUNT, BATCH, seed=1, epoch=i, independent=False)
            shared.update(pictures, plan[0], i)
            loss = alone.update(pictures, plan[0], i)
        apart = np.abs(shared.weights - alone.weights).max()
        largest = comm.allreduce(np.array([apart]), "max")[0]
    relative = float(largest / np.abs(alone.weights).max())
    return Equality(comm.size, UPDATES, BATCH, relative, loss)
