"""Training: the contenders of `bench.compare`, each with its own model and optimiser.

All begin with the same weights and see the same images.  They differ in what becomes of
the gradients: ``ours`` averages them by the trainer's reducer, ``ours:NAME`` by one
algorithm; ``ddp-gloo`` by torch's DistributedDataParallel over gloo; ``none`` leaves
each rank its own.  Batch normalisation is each rank's own in all of them.
"""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from collectives import Communicator
from trainer import model, optim, recipe
from trainer.data.synthetic import Synthetic
from trainer.reducer import Reducer

from .baselines import NotSupported, gloo_group
from .compare_options import Options

BASE = recipe.load("goyal2017")
MODELS = {
    "resnet50": BASE.model,
    "tiny": replace(BASE.model, width=4, blocks=(1, 1), classes=10),
}


@dataclass
class Contender:
    """One way to train; by default alone."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    begin: Callable[[], Any]  # forget the gradients of the last update
    end: Callable[[], Any] = lambda: None  # have all gradients in place
    waited_s: Callable[[], float] = lambda: 0.0  # stood still so far, in ``end``

    def update(self, images: Tensor, labels: Tensor) -> float:
        """Train on images (N, 3, H, W) and labels (N,); return their mean loss."""
        self.begin()
        loss = functional.cross_entropy(self.network(images), labels)
        torch.autograd.backward(loss)
        self.end()
        self.optimizer.step()
        return float(loss.item())


def gather(
    options: Options, comm: Communicator, mpi: Any, stack: ExitStack
) -> dict[str, Contender]:
    """Return the contenders by name; ``stack`` closes what they opened.

    Raises:
        NotSupported: on all ranks, if one cannot take part on some rank.
    """
    found, problem = {}, None
    try:
        for name in options.trainer:
            found[name] = contender(name, options, comm, mpi, stack)
    except NotSupported as error:
        problem = f"{name}: {error}"
    for text in mpi.allgather(problem):
        if text is not None:
            raise NotSupported(text)
    return found


def contender(
    name: str, options: Options, comm: Communicator, mpi: Any, stack: ExitStack
) -> Contender:
    """Return one contender, at the weights that depend on ``options.seed`` only."""
    network = model.build(MODELS[options.model], seed=options.seed)
    rate = BASE.optimizer.lr * options.batch * mpi.size / BASE.lr.reference_batch
    optimizer = optim.build(network, replace(BASE.optimizer, lr=rate))
    if name == "none":
        return Contender(network, optimizer, optimizer.zero_grad)
    if name == "ddp-gloo":
        stack.enter_context(gloo_group(mpi))
        return Contender(distributed(network), optimizer, optimizer.zero_grad)
    reducer = Reducer(
        network.named_parameters(),
        comm,
        algorithm=name.partition(":")[2] or "auto",
        **options.buckets(),
    )
    return Contender(
        network,
        optimizer,
        reducer.zero_grad,
        reducer.finish,
        lambda: reducer.waited_s,
    )


def distributed(network: nn.Module) -> DistributedDataParallel:
    """Wrap for DDP, as fast as it can be: no copies, no broadcast of averages."""
    with warnings.catch_warnings():
        # torch 2.13 renames broadcast_buffers to what older versions do not have.
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            network, broadcast_buffers=False, gradient_as_bucket_view=True
        )


def describe(options: Options) -> str:
    """Say what is trained."""
    with torch.device("meta"):
        network = model.ResNet(MODELS[options.model])
    count = sum(parameter.numel() for parameter in network.parameters())
    size = options.image_size
    return (
        f"{options.model}, {count:,} parameters, {size}x{size} images, "
        f"{options.batch} of each rank"
    )


class Batches:
    """Images and labels of each update of one rank, made on demand."""

    def __init__(self, options: Options, rank: int, size: int) -> None:
        """Take every ``size``-th batch of an endless supply."""
        self.rank, self.size, self.batch = rank, size, options.batch
        self.images = Synthetic(
            train=True,
            size=options.image_size,
            classes=MODELS[options.model].classes,
            seed=options.seed,
        )

    def __getitem__(self, update: int) -> tuple[Tensor, Tensor]:
        """Return images (batch, 3, size, size) and labels (batch,) of one update."""
        first = (update * self.size + self.rank) * self.batch
        items = [self.images[0, first + i] for i in range(self.batch)]
        images, labels = zip(*items, strict=True)
        return torch.stack(images), torch.tensor(labels)
