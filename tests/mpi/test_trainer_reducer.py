from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional

from collectives import ShapeMismatch, algorithms
from trainer import optim
from trainer.fields import Model, Optimizer
from trainer.model import build
from trainer.reducer import Reducer

pytestmark = pytest.mark.mpi

SMALL = {"first_bucket_bytes": 64, "bucket_bytes": 512}
TINY = Model(width=4, blocks=(1, 1), classes=10, stride="v1.5", zero_gamma=True)
PER_WORKER = 4


def images_of(worker, update):
    generator = torch.Generator().manual_seed(1000 * update + worker)
    images = torch.randn(
        PER_WORKER, 3, 16, 16, dtype=torch.float64, generator=generator
    )
    return images, torch.randint(10, (PER_WORKER,), generator=generator)


def trained(comm, workers, *, updates=3, **options):
    """Train on ``workers`` workers' images, accumulating those of each rank."""
    model = build(TINY, seed=3).double()
    optimizer = optim.build(model, Optimizer(nesterov=True, decay_bn=False))
    reducer = Reducer(model.named_parameters(), comm, **SMALL, **options)
    mine = range(comm.rank, workers, comm.size)
    for update in range(updates):
        reducer.zero_grad()
        for worker in mine:
            images, labels = images_of(worker, update)
            last = worker == mine[-1]
            with nullcontext() if last else reducer.no_sync():
                (functional.cross_entropy(model(images), labels) / len(mine)).backward()
        reducer.finish()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def every_rank_has_the_same(comm, tensors):
    flat = torch.cat([t.flatten() for t in tensors])
    everyone = comm.allgather(flat)
    return all(torch.equal(row, everyone[0]) for row in everyone)


@pytest.mark.parametrize("algorithm", ["auto", *algorithms.names()])
def test_k_ranks_train_as_one_rank_that_accumulates(comm, algorithm):
    alone = comm.split(comm.rank)
    accumulated = trained(alone, comm.size)
    together = trained(comm, comm.size, algorithm=algorithm)
    alone.close()
    for mine, theirs in zip(together, accumulated, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    assert every_rank_has_the_same(comm, together)


@pytest.mark.parametrize("switch_bytes", [1, 600, 1 << 20])
def test_the_switch_changes_how_gradients_are_summed_and_not_their_sum(
    comm, switch_bytes
):
    rule = {"algorithm": "ring", "small_algorithm": "hierarchical"}
    switched = trained(comm, comm.size, switch_bytes=switch_bytes, **rule)
    plain = trained(comm, comm.size)
    for mine, theirs in zip(switched, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    assert every_rank_has_the_same(comm, switched)


def test_another_gradient_scale_is_noticed(comm):
    if comm.size == 1:
        pytest.skip("needs a second rank")
    alone = comm.split(comm.rank)
    others = trained(alone, comm.size + 1)
    together = trained(comm, comm.size)
    alone.close()
    assert not torch.allclose(together[0], others[0], rtol=1e-12, atol=1e-12)


def linear(comm, *, shift):
    """Return a chain of layers, and the input of this rank."""
    torch.manual_seed(0)
    layers = [nn.Linear(8, 8, bias=False) for _ in range(6)]
    x = torch.full((2, 8), float(comm.rank + 1 + shift))
    return nn.ModuleList(layers), x


@pytest.mark.parametrize("wire", [None, "float16", "bfloat16"])
def test_a_wire_dtype_rounds_but_keeps_ranks_equal(comm, wire):
    layers, x = linear(comm, shift=0)
    reducer = Reducer(layers.named_parameters(), comm, wire=wire, **SMALL)
    (layers[0](x)).sum().backward()
    reducer.finish()
    mean = sum(2.0 * (rank + 1) for rank in range(comm.size)) / comm.size
    tolerance = {None: 1e-6, "float16": 2e-3, "bfloat16": 2e-2}[wire]
    gradient = layers[0].weight.grad
    torch.testing.assert_close(
        gradient, torch.full_like(gradient, mean), rtol=tolerance, atol=0
    )
    assert every_rank_has_the_same(comm, [gradient])


def test_a_wire_of_half_precision_does_not_overflow_by_the_number_of_ranks(comm):
    layers, x = linear(comm, shift=0)
    reducer = Reducer(layers.named_parameters(), comm, wire="float16", **SMALL)
    (layers[0](torch.full_like(x, 20000.0))).sum().backward()
    reducer.finish()
    gradient = layers[0].weight.grad
    torch.testing.assert_close(
        gradient, torch.full_like(gradient, 4e4), rtol=2e-3, atol=0
    )


def test_ranks_may_use_different_parameters(comm):
    layers, x = linear(comm, shift=0)
    reducer = Reducer(layers.named_parameters(), comm, **SMALL)
    used = comm.rank % len(layers)
    for _ in range(3):
        reducer.zero_grad()
        layers[used](x).sum().backward()
        reducer.finish()
    for index, layer in enumerate(layers):
        users = [r for r in range(comm.size) if r % len(layers) == index]
        mean = sum(2.0 * (rank + 1) for rank in users) / comm.size
        expected = torch.full_like(layer.weight, mean)
        torch.testing.assert_close(layer.weight.grad, expected)


def test_ranks_whose_gradients_arrive_in_another_order_agree(comm):
    layers, x = linear(comm, shift=0)
    reducer = Reducer(layers.named_parameters(), comm, **SMALL)
    order = list(layers) if comm.rank % 2 else list(layers)[::-1]
    for _ in range(2):
        reducer.zero_grad()
        for layer in order[:-1]:
            with reducer.no_sync():
                layer(x).sum().backward()
        sum(layer(x).sum() for layer in order).backward()
        reducer.finish()
    assert every_rank_has_the_same(comm, [layer.weight.grad for layer in layers])
    orders = comm.gather_objects(reducer.order)
    assert orders is None or all(order == orders[0] for order in orders)


def test_channels_last_gradients_are_averaged_in_place(comm):
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    reducer = Reducer(model.named_parameters(), comm, **SMALL)
    x = torch.full((1, 3, 4, 4), comm.rank + 1.0)
    for _ in range(2):
        reducer.zero_grad()
        model(x.to(memory_format=torch.channels_last)).sum().backward()
        reducer.finish()
        mean = 4.0 * (comm.size + 1) / 2
        expected = torch.full_like(model.weight, mean)
        torch.testing.assert_close(model.weight.grad, expected)


def test_different_models_are_refused_on_all_ranks(comm):
    if comm.size == 1:
        pytest.skip("needs a second rank")
    width = 3 if comm.rank == comm.size - 1 else 2
    model = nn.Linear(width, 2)
    with pytest.raises(ShapeMismatch, match=rf"rank {comm.size - 1}.*\(2, 3\)"):
        Reducer(model.named_parameters(), comm)
