"""The study on several ranks: the same outcomes, and gradients by our allreduce."""

from dataclasses import replace

import pytest

from bench.study import share, task
from bench.study.arms import Rates
from bench.study.train import Run, train

pytestmark = pytest.mark.mpi

TINY = task.Size("tiny", 128, 40, 3, (64,), (1,), 64)


def test_ranks_share_the_runs_and_all_know_the_outcomes(mpi):
    data = task.data(TINY)
    runs = [Run("M5", 64, seed, Rates(0.05, 30.0), 3) for seed in range(1, 6)]
    told = []
    found = share.carry_out(runs, data, mpi.COMM_WORLD, told.append)
    expected = [replace(train(run, data), seconds=0) for run in runs]
    assert [replace(outcome, seconds=0) for outcome in found] == expected
    assert told == (found if mpi.COMM_WORLD.rank == 0 else [])


def test_ranks_train_what_virtual_workers_train(mpi):
    found = share.demonstrate(mpi.COMM_WORLD)
    assert found.ranks == mpi.COMM_WORLD.size
    assert found.largest_difference < 1e-12
    assert found.loss < 3
