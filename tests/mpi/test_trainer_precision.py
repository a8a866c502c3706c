"""Half precision on several ranks: weights alike, a scale that all agree on."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainer import optim, wire
from trainer.fields import Model, Optimizer
from trainer.model import build
from trainer.place import Place
from trainer.precision import Precision
from trainer.reducer import Reducer

pytestmark = pytest.mark.mpi

SMALL = {"first_bucket_bytes": 64, "bucket_bytes": 512}
TINY = Model(width=4, blocks=(1, 1), classes=10, stride="v1.5", zero_gamma=True)
PER_WORKER = 8


def images_of(worker, update):
    random = torch.Generator().manual_seed(1000 * update + worker)
    images = torch.randn(PER_WORKER, 3, 16, 16, generator=random)
    return images, torch.randint(10, (PER_WORKER,), generator=random)


def trained(comm, workers, name, *, updates=3, same=False, channels_last=False):
    """Train on ``workers`` workers' images; return weights and losses.

    With ``same`` images in every update.
    """
    place = Place(channels_last=channels_last)
    model = place.hold(build(TINY, seed=3))
    optimizer = optim.build(model, Optimizer(nesterov=True, decay_bn=False))
    reducer = Reducer(model.named_parameters(), comm, **SMALL)
    computing = Precision(name, "cpu")
    mine, losses = range(comm.rank, workers, comm.size), []
    for update in range(updates):
        reducer.zero_grad()
        for worker in mine:
            batch = place.put(*images_of(worker, 0 if same else update))
            last = worker == mine[-1]
            with nullcontext() if last else reducer.no_sync():
                with computing.autocast():
                    loss = functional.cross_entropy(model(batch[0]), batch[1])
                    loss = loss / len(mine)
                computing.backward(loss)
        losses.append(loss.item() * len(mine))
        reducer.finish()
        computing.step(optimizer)
    return [parameter.detach().clone() for parameter in model.parameters()], losses


def every_rank_has_the_same(comm, tensors):
    everyone = comm.allgather(torch.cat([t.flatten() for t in tensors]))
    return all(torch.equal(row, everyone[0]) for row in everyone)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_loss_falls_and_all_ranks_have_the_same_weights(comm, name, channels_last):
    weights, losses = trained(
        comm, comm.size, name, updates=30, same=True, channels_last=channels_last
    )
    assert every_rank_has_the_same(comm, weights)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("name", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-3), ("float16", 2e-3)]
)
def test_k_ranks_train_as_one_rank_that_accumulates(comm, name, tolerance):
    alone = comm.split(comm.rank)
    accumulated, _ = trained(alone, comm.size, name)
    together, _ = trained(comm, comm.size, name)
    alone.close()
    for mine, theirs in zip(together, accumulated, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("travels", [None, "float16", "bfloat16"])
def test_what_overflows_on_one_rank_is_skipped_on_all(comm, bad, travels):
    torch.manual_seed(0)
    layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    optimizer = optim.build(layers, Optimizer(lr=0.01))
    reducer = Reducer(layers.named_parameters(), comm, wire=travels, **SMALL)
    computing = Precision("float16", "cpu")
    for culprit in range(comm.size):
        before = [parameter.detach().clone() for parameter in layers.parameters()]
        for guilty in (True, False):
            reducer.zero_grad()
            x = torch.ones(2, 8)
            x[0, 0] = bad if guilty and comm.rank == culprit else 1.0
            computing.backward(layers(x).square().mean() / 1024)
            reducer.finish()
            computing.step(optimizer)
            computing.note(computing.current().tolist())
            unchanged = all(map(torch.equal, layers.parameters(), before))
            assert unchanged == guilty
        assert every_rank_has_the_same(comm, list(layers.parameters()))
        assert computing.skipped == culprit + 1
        assert computing.scale == 65536 / 2 ** (culprit + 1)
    assert all(torch.isfinite(parameter).all() for parameter in layers.parameters())


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_with_a_fixed_scale_all_ranks_skip_together_and_keep_it(comm, bad):
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    optimizer = optim.build(layer, Optimizer(lr=0.01))
    reducer = Reducer(layer.named_parameters(), comm, **SMALL)
    computing = Precision("float16", "cpu", fixed=256.0)
    for culprit in range(comm.size):
        for guilty in (True, False):
            before = layer.weight.detach().clone()
            reducer.zero_grad()
            x = torch.ones(2, 8)
            x[0, 0] = bad if guilty and comm.rank == culprit else 1.0
            computing.backward(layer(x).square().mean())
            reducer.finish()
            computing.step(optimizer)
            computing.note(computing.current().tolist())
            assert torch.equal(layer.weight, before) == guilty
            assert computing.made.item() == (not guilty)
        assert every_rank_has_the_same(comm, list(layer.parameters()))
        assert (computing.scale, computing.skipped) == (256, culprit + 1)


def test_a_sum_that_overflows_on_the_wire_is_skipped_on_all(comm):
    if comm.size == 1:
        pytest.skip("nothing is sent")
    layer = nn.Linear(1, 4, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = optim.build(layer, Optimizer(lr=0.01))
    reducer = Reducer(layer.named_parameters(), comm, wire="float16")
    computing = Precision("float16", "cpu")
    computing.backward(layer(torch.tensor([[8.0]])).sum())  # 524,288 after scaling
    assert torch.isfinite(layer.weight.grad).all()  # no rank's own overflows
    reducer.finish()
    computing.step(optimizer)
    computing.note(computing.current().tolist())
    assert computing.skipped == 1 and (layer.weight == 1).all()


def moved(comm, gradient, scale):
    """Make one update in float32 over float16 gradients; return change and skips."""
    layer = nn.Linear(1, 5, bias=False)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    reducer = Reducer(layer.named_parameters(), comm, wire="float16")
    computing = Precision("float32", "cpu", first_scale=scale)
    computing.backward(layer(torch.tensor([[gradient]])).sum())
    reducer.finish()
    computing.step(optimizer)
    computing.note(computing.current().tolist())
    assert every_rank_has_the_same(comm, [layer.weight])
    return -layer.weight.detach(), computing


def test_gradients_that_float16_does_not_hold_arrive_under_a_scale(comm):
    """A rank's share is what it is of a gradient of 1e-6 among 1,024 ranks."""
    gradient, scale = (
        1e-6 * comm.size / 1024,
        wire.first_scale("float32", "float16", 1024),
    )
    found, _ = moved(comm, gradient, scale)
    torch.testing.assert_close(
        found, torch.full_like(found, gradient), rtol=2e-3, atol=0
    )
    if comm.size > 1:
        lost, _ = moved(comm, gradient, None)
        assert not lost.any()


def test_a_sum_that_float16_does_not_hold_changes_no_weight_in_float32_either(comm):
    if comm.size == 1:
        pytest.skip("nothing is sent")
    scale = wire.first_scale("float32", "float16", comm.size)
    found, computing = moved(comm, 1e5 / scale, scale)
    assert not found.any() and computing.skipped == 1
    assert computing.scale == scale / 2
    found, computing = moved(comm, 6e4 / scale, scale)
    assert found.all() and computing.skipped == 0
