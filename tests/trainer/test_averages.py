import numpy as np
import pytest
import torch
from alone import Alone
from torch import nn

from trainer import bn
from trainer.averages import Averages
from trainer.fields import Norm

WORKERS = 5


class Several(Alone):
    """This rank and others, which have rows of their own."""

    def __init__(self, others):
        super().__init__()
        self.others = others  # rows (k, m) of each, after this one's

    def allreduce(self, x, op="sum", *, out=None, **options):
        assert op == "sum"
        for rows in self.others:
            moments = bn.moments(rows).sum(0).numpy()
            x = x + np.append(moments, float(len(rows)))
        return x

    def gather_objects(self, value, root=0):
        return [value, *(rows.numpy() for rows in self.others)]


def network():
    layers = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
    return nn.Sequential(*layers).double()


def images(update, worker):
    generator = torch.Generator().manual_seed(100 * update + worker)
    noise = torch.randn(8, 3, 4, 4, dtype=torch.float64, generator=generator)
    return noise * (1 + worker) + 5 * worker


def accumulated(model, updates=3, workers=WORKERS):
    """Return the averages of a rank that has all the workers."""
    averages = Averages(model)
    averages.begin(workers)
    for update in range(updates):
        for worker in range(workers):
            averages.select(worker)
            model(images(update, worker))
    return averages


def rows_of_ranks(model, updates=3):
    """Return the running averages of as many models as there are workers."""
    rows = []
    for worker in range(WORKERS):
        own = network()
        own.load_state_dict(model.state_dict())
        for update in range(updates):
            own(images(update, worker))
        rows.append(bn.flatten(own))
    return torch.stack(rows)


def test_each_worker_has_the_averages_of_a_rank_of_its_own():
    model = network()
    expected = rows_of_ranks(model)
    assert torch.equal(accumulated(model).gather(Alone()), expected)


def test_pooling_is_exact_and_the_same_whatever_the_ranks():
    model = network()
    rows = rows_of_ranks(model)
    mean, variance = rows.chunk(2, dim=1)
    square = (variance + mean**2).mean(0)
    expected = torch.cat([mean.mean(0), square - mean.mean(0) ** 2])
    for mine in range(WORKERS + 1):
        own = network()
        averages = Averages(own)
        averages.restore(rows, mine=range(mine), of=WORKERS)
        bn.synchronise(averages, Several([rows[mine:4], rows[max(mine, 4) :]]))
        found = bn.flatten(own)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert averages.shared


def test_averaged_variances_are_not_the_pool():
    rows = rows_of_ranks(network())
    pool = bn.pooled(bn.moments(rows).mean(0))
    mean, variance = rows.mean(0).chunk(2)
    torch.testing.assert_close(pool.chunk(2)[0], mean)
    of_images = slice(0, 3)  # the other layer sees what each worker has normalised
    assert (variance < 0.9 * pool.chunk(2)[1])[of_images].all()


def test_last_batch_is_that_of_all_workers_of_the_last_update():
    model = network()
    bn.configure(model, Norm(evaluate="last_batch"))
    bn.synchronise(accumulated(model), Alone())
    seen = torch.cat([images(2, worker) for worker in range(WORKERS)])
    torch.testing.assert_close(model[0].running_mean, seen.mean((0, 2, 3)))


def test_after_pooling_all_workers_go_on_alike():
    model = network()
    averages = accumulated(model)
    bn.synchronise(averages, Alone())
    before = bn.flatten(model)
    bn.synchronise(averages, Alone())
    assert torch.equal(bn.flatten(model), before)
    assert torch.equal(averages.gather(Alone()), before[None])
    averages.begin(2)
    assert torch.equal(averages.own(), before.expand(2, -1))
    averages.begin(2)
    averages.select(1)
    model(images(9, 0))
    first, second = averages.own()
    assert torch.equal(first, before) and not torch.equal(second, before)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_gathered_rows_go_back_to_the_same_workers_on_other_ranks(ranks):
    rows = rows_of_ranks(network())
    places = [range(i * 5 // ranks, (i + 1) * 5 // ranks) for i in range(ranks)]
    found = []
    for workers in places:
        averages = Averages(network())
        averages.restore(rows, mine=workers, of=WORKERS)
        averages.begin(len(workers))
        found.append(averages.own().clone())
    assert torch.equal(torch.cat(found), rows)
    first = Averages(network())
    first.restore(rows, mine=places[0], of=WORKERS)
    assert torch.equal(first.gather(Several(found[1:])), rows)


def test_an_idle_rank_has_no_rows_and_gets_the_pool():
    rows = rows_of_ranks(network())
    model = network()
    averages = Averages(model)
    averages.begin(0)
    assert averages.own().shape == (0, 10)
    bn.synchronise(averages, Several([rows]))
    pool = bn.pooled(bn.moments(rows).mean(0))
    torch.testing.assert_close(bn.flatten(model), pool, rtol=1e-12, atol=0)


def test_equal_rows_are_stored_once():
    averages = Averages(network())
    averages.begin(3)
    assert averages.gather(Alone()).shape == (1, 10)


def test_rows_of_another_number_of_workers_are_pooled():
    rows = rows_of_ranks(network())
    model = network()
    Averages(model).restore(rows, mine=range(2), of=2)
    pool = bn.pooled(bn.moments(rows).mean(0))
    torch.testing.assert_close(bn.flatten(model), pool)
