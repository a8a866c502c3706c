"""Averages of the weights on several ranks: alike everywhere, one evaluation."""

import pytest
import torch
from torch.nn import functional

from trainer import bn, optim
from trainer.averages import Averages
from trainer.ema import Ema
from trainer.fields import Model, Optimizer
from trainer.model import build
from trainer.reducer import Reducer

pytestmark = pytest.mark.mpi

TINY = Model(width=4, blocks=(1,), classes=10, stride="v1.5", zero_gamma=True)


def trained(comm, *, updates=3):
    """Train on images that differ by rank; return the model and its averages."""
    model = build(TINY, seed=3)
    optimizer = optim.build(model, Optimizer())
    reducer = Reducer(model.named_parameters(), comm)
    ema, averages = Ema(model, 0.75), Averages(model)
    for part in (averages, ema.averages):
        part.begin(1)
    random = torch.Generator().manual_seed(comm.rank)
    for _ in range(updates):
        reducer.zero_grad()
        images = torch.randn(8, 3, 16, 16, generator=random) + comm.rank
        labels = torch.randint(10, (8,), generator=random)
        functional.cross_entropy(model(images), labels).backward()
        reducer.finish()
        optimizer.step()
        ema.update(averages)
    return model, ema


def rows(comm, tensors):
    return comm.allgather(torch.cat([t.detach().flatten() for t in tensors]))


def test_all_ranks_have_the_same_averages_and_evaluate_with_the_same(comm):
    model, ema = trained(comm)
    own, averaged = (rows(comm, m.parameters()) for m in (model, ema.model))
    everyone = comm.allgather(ema.averages.own()[0].clone())
    expected = bn.pooled(bn.moments(everyone).mean(0))
    bn.synchronise(ema.averages, comm)
    torch.testing.assert_close(
        bn.flatten(ema.model).double(), expected, rtol=1e-6, atol=1e-7
    )
    for table in (own, averaged, comm.allgather(bn.flatten(ema.model))):
        assert all(torch.equal(row, table[0]) for row in table)
    assert not torch.equal(own, averaged)
