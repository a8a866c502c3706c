"""Training: the contenders of `bench.compare`, each with its own model and optimiser.

All begin with the same weights and see the same images.  They differ in what becomes of
the gradients: ``ours`` averages them by the trainer's reducer, ``ours:NAME`` by one
algorithm; ``ddp-gloo`` (on the host) and ``ddp-nccl`` (on GPUs) by torch's
DistributedDataParallel over that; ``none`` leaves each rank its own: a plain loop of
torch.  Batch normalisation is each rank's own in all of them.  ``trainer`` is not of
this loop, see `bench.whole`.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from collectives import Communicator, gpu
from trainer import agree, loader, model, optim, recipe
from trainer.data.synthetic import Synthetic
from trainer.place import Batch, Place, choose
from trainer.precision import Precision, check
from trainer.reducer import Reducer
from trainer.sampler import Sampler

from .baselines import NotSupported, gloo_group, nccl_group
from .compare_options import TRAINER, Options
from .whole import Whole

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
    place: Place
    precision: Precision
    begin: Callable[[], Any]  # forget the gradients of the last update
    end: Callable[[], Any] = lambda: None  # have all gradients in place
    waited_s: Callable[[], float] = lambda: 0.0  # stood still so far, in ``end``

    def update(self, images: Tensor, labels: Tensor) -> Callable[[], float]:
        """Train on images (N, 3, H, W) and labels (N,); return how to read the loss."""
        self.begin()
        with self.precision.autocast():
            loss = functional.cross_entropy(self.network(images), labels)
        reading = self.place.fetch(loss)
        self.precision.backward(loss)
        self.end()
        self.precision.step(self.optimizer)
        return reading


def place(options: Options, comm: Communicator, claim: gpu.Claim | None) -> Place:
    """Return where this rank trains.

    Raises:
        InvalidArgument: on all ranks, if one has no GPU of its own, or if torch or the
            device cannot do what is asked for.
    """
    device = torch.device("cpu")
    if claim is not None:
        device = choose(comm, claim, share=options.share_gpu)
    found = Place(device, options.channels_last)
    agree.together(
        comm, lambda: check(options.precision, found, compiled=options.compile)
    )
    return found


def gather(
    options: Options, comm: Communicator, mpi: Any, stack: ExitStack, place: Place
) -> dict[str, Contender | Whole]:
    """Return the contenders by name; ``stack`` closes what they opened.

    Raises:
        NotSupported: on all ranks, if one cannot take part on some rank.
    """
    found, problem = {}, None
    try:
        for name in options.trainer:
            found[name] = contender(name, options, comm, mpi, stack, place)
    except NotSupported as error:
        problem = f"{name}: {error}"
    for text in mpi.allgather(problem):
        if text is not None:
            raise NotSupported(text)
    return found


def contender(
    name: str,
    options: Options,
    comm: Communicator,
    mpi: Any,
    stack: ExitStack,
    place: Place,
) -> Contender | Whole:
    """Return one contender, at the weights that depend on ``options.seed`` only."""
    if name == TRAINER:
        return Whole(options, replace(BASE, model=MODELS[options.model]), comm, place)
    network = place.hold(model.build(MODELS[options.model], seed=options.seed))
    rate = BASE.optimizer.lr * options.batch * mpi.size / BASE.lr.reference_batch
    optimizer = optim.build(network, replace(BASE.optimizer, lr=rate))
    precision = Precision(options.precision, place.device.type)
    how = optimizer, place, precision
    if name == "none":
        return Contender(compiled(network, options), *how, optimizer.zero_grad)
    if name.startswith("ddp"):
        group = open_group(name, mpi, stack, place)
        wrapped = distributed(network, group, place)
        return Contender(compiled(wrapped, options), *how, optimizer.zero_grad)
    reducer = Reducer(
        network.named_parameters(),
        comm,
        algorithm=name.partition(":")[2] or "auto",
        **options.buckets(),
    )
    return Contender(
        compiled(network, options),
        *how,
        reducer.zero_grad,
        reducer.finish,
        lambda: reducer.waited_s,
    )


def compiled(network: nn.Module, options: Options) -> nn.Module:
    """Have torch compile the network, if asked to; return it."""
    if options.compile:
        network.compile(dynamic=False)
    return network


def open_group(name: str, mpi: Any, stack: ExitStack, place: Place) -> Any:
    """Open what DDP needs of torch.distributed; return its group, None for gloo's.

    Raises:
        NotSupported: it is for the host, or for GPUs that no ranks share.
    """
    if place.on_gpu != (name == "ddp-nccl"):
        other = "ddp-gloo" if name == "ddp-nccl" else "ddp-nccl"
        raise NotSupported(f"not on {place.device.type}; take {other}")
    group = stack.enter_context(gloo_group(mpi))
    return stack.enter_context(nccl_group(group, mpi)) if place.on_gpu else None


def distributed(
    network: nn.Module, group: Any, place: Place
) -> DistributedDataParallel:
    """Wrap for DDP, as fast as it can be: no copies, no broadcast of averages."""
    with warnings.catch_warnings():
        # torch 2.13 renames broadcast_buffers to what older versions do not have.
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            network,
            device_ids=[place.device.index] if place.on_gpu else None,
            process_group=group,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


def describe(options: Options) -> str:
    """Say what is trained."""
    with torch.device("meta"):
        network = model.ResNet(MODELS[options.model])
    count = sum(parameter.numel() for parameter in network.parameters())
    size = options.image_size
    return (
        f"{options.model}, {count:,} parameters, {size}x{size} images, "
        f"{options.batch} of each rank, {options.precision}"
        + ", channels_last" * options.channels_last
        + ", compiled" * options.compile
    )


class Batches:
    """Images and labels of one rank's updates, those of the trainer's loader."""

    def __init__(self, options: Options, rank: int, size: int, place: Place) -> None:
        """Keep the images, which are few and come again and again, on the device."""
        images = Synthetic(
            train=True,
            sizes=[options.image_size],
            classes=MODELS[options.model].classes,
            seed=options.seed,
        )
        self.sampler = Sampler(
            len(images),
            rank=rank,
            size=size,
            per_worker=options.batch,
            seed=options.seed,
        )
        self.batches = loader.load(images, self.sampler, workers=0, place=place)

    def __getitem__(self, updates: slice) -> list[Batch]:
        """Return images (batch, 3, size, size) and labels (batch,) of some updates."""
        return list(islice(self.since(updates.start), updates.stop - updates.start))

    def since(self, update: int) -> Iterator[Batch]:
        """Yield the batches from an update on, for ever."""
        epoch, before = divmod(update, self.sampler.updates(0))
        while True:
            self.sampler.start(epoch=epoch, samples_seen=before * self.sampler.batch)
            yield from self.batches
            epoch, before = epoch + 1, 0
