"""Averages of the weights on several ranks: alike everywhere, one evaluation."""

import pytest
import torch
from torch.nn import functional

from trainer import bn, optim
from trainer.ema import Ema
from trainer.model import build
from trainer.recipe import Model, Optimizer
from trainer.reducer import Reducer

pytestmark = pytest.mark.mpi

TINY = Model(width=4, blocks=(1,), classes=10, stride="v1.5", zero_gamma=True)


def trained(comm, *, updates=3):
    """Train on images that differ by rank; return the model and its averages."""
    model = build(TINY, seed=3)
    optimizer = optim.build(model, Optimizer())
    reducer = Reducer(model.named_parameters(), comm)
    ema = Ema(model, 0.75)
    random = torch.Generator().manual_seed(comm.rank)
    for _ in range(updates):
        reducer.zero_grad()
        images = torch.randn(8, 3, 16, 16, generator=random) + comm.rank
        labels = torch.randint(10, (8,), generator=random)
        functional.cross_entropy(model(images), labels).backward()
        reducer.finish()
        optimizer.step()
        ema.update()
    return model, ema


def rows(comm, tensors):
    return comm.allgather(torch.cat([t.detach().flatten() for t in tensors]))


def test_all_ranks_have_the_same_averages_and_evaluate_with_the_same(comm):
    model, ema = trained(comm)
    parameters = list(model.parameters())
    before = rows(comm, parameters)
    with ema.applied():
        averaged = rows(comm, parameters)
        expected = bn.pooled(bn.moments(comm.allgather(bn.flatten(model))).mean(0))
        bn.synchronise(model, comm)
        torch.testing.assert_close(bn.flatten(model), expected, rtol=1e-6, atol=1e-7)
        pooled = comm.allgather(bn.flatten(model))
    for table in (before, averaged, pooled, rows(comm, parameters)):
        assert all(torch.equal(row, table[0]) for row in table)
    assert torch.equal(before, rows(comm, parameters))
    assert not torch.equal(before, averaged)
