import numpy as np
import pytest
import torch
from torch import nn

from collectives import InvalidArgument
from trainer import agree, bn, evaluate, loader
from trainer.averages import Averages
from trainer.data import digits
from trainer.fields import Images
from trainer.place import Place
from trainer.sampler import TestSampler

pytestmark = pytest.mark.mpi


def test_an_error_on_one_rank_is_raised_on_all_with_its_rank(comm):
    def action():
        if comm.rank == comm.size - 1:
            raise InvalidArgument("no such directory")
        return comm.rank

    where = "" if comm.size == 1 else rf" \(on ranks {comm.size - 1}\)"
    with pytest.raises(InvalidArgument, match=f"no such directory{where}$"):
        agree.together(comm, action)
    assert agree.together(comm, lambda: comm.rank) == comm.rank


def test_an_error_on_all_ranks_is_told_without_ranks(comm):
    def action():
        raise OSError("disk")

    with pytest.raises(InvalidArgument, match="disk$"):
        agree.together(comm, action)


def test_the_first_rank_decides_for_all(comm):
    assert agree.on_root(comm, lambda: ("by", comm.rank)) == ("by", 0)

    def action():
        raise InvalidArgument("bad flag")

    with pytest.raises(InvalidArgument, match="bad flag"):
        agree.on_root(comm, action)


class BrightSide(nn.Module):
    """Scores that depend on each image alone, right for some."""

    def forward(self, images):
        means = images.mean((1, 2, 3), dtype=torch.float64)
        return -((means[:, None] * 20 + 5 - torch.arange(10)) ** 2)


def test_evaluation_counts_each_image_once_on_any_number_of_ranks(comm):
    test = digits.load(
        None, train=False, images=Images(size=8, resize=8), classes=10, seed=1
    )
    whole = TestSampler(360, rank=0, size=1, per_worker=50)
    batches = loader.load(test, whole, workers=0, place=Place())
    alone = evaluate.count_correct(BrightSide(), batches)
    mine = TestSampler(360, rank=comm.rank, size=comm.size, per_worker=7)
    batches = loader.load(test, mine, workers=0, place=Place())
    together = evaluate.measure(BrightSide(), batches, comm)
    assert (together.correct, together.count) == (alone.correct, 360)
    assert 0 < together.correct < 360
    assert together.loss == pytest.approx(alone.loss, rel=1e-12)


def test_running_averages_become_those_of_all_ranks(comm):
    def batch(rank):
        return np.random.default_rng(rank).normal(rank, 1 + rank, (4096, 2))

    model = nn.Sequential(nn.BatchNorm1d(2, momentum=1.0)).double()
    averages = Averages(model)
    averages.begin(1)
    model(torch.from_numpy(batch(comm.rank)))
    bn.synchronise(averages, comm)
    everything = np.concatenate([batch(rank) for rank in range(comm.size)])
    mean, variance = bn.flatten(model).chunk(2)
    np.testing.assert_allclose(mean, everything.mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(variance, everything.var(0), rtol=1e-3)
    rows = comm.allgather(bn.flatten(model))
    assert all(torch.equal(row, rows[0]) for row in rows)
