"""Assemble a training: model, optimiser, reducer and batches, alike on all ranks."""

from typing import Any

import torch
from torch import nn

from trainer import agree, bn, groups, model, optim, phases, span, supply, wire
from trainer.averages import Averages
from trainer.ema import Ema
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.precision import Precision
from trainer.record import Recorder
from trainer.reducer import Reducer
from trainer.settings import Settings
from trainer.stragglers import Stragglers
from trainer.training import Training


def assemble(
    comm: Any,
    settings: Settings,
    place: Place,
    recorder: Recorder,
    interrupt: Interrupt,
    data: supply.Data,
) -> Training:
    """Build all that a training has, at its beginning.

    Raises:
        InvalidArgument: on all ranks, if there is no such model.
    """
    values, (sampler, training, test) = settings.recipe, data
    network, ema = build_networks(comm, settings, place)
    reducer = Reducer(network.named_parameters(), comm, **vars(values.reduction))
    optimizer = optim.build(
        network, values.optimizer, lars=values.lars, rmsprop=values.rmsprop
    )
    batches, test_batches = supply.batches(comm, settings, place, data)
    parts = phases.of(values, comm.size)
    layouts = [groups.of(phase, values.bn, comm.size) for phase in parts]
    return Training(
        comm=comm,
        settings=settings,
        model=network,
        averages=Averages(network),
        optimizer=optimizer,
        reducer=reducer,
        phases=parts,
        sampler=sampler,
        datasets=(training, test),
        batches=batches,
        test_batches=test_batches,
        place=place,
        precision=precision_of(settings, place, comm.size),
        recorder=recorder,
        interrupt=interrupt,
        stragglers=Stragglers(comm),
        ema=ema,
        spans=span.split(comm, [layout.ranks for layout in layouts]),
    )


def build_networks(
    comm: Any, settings: Settings, place: Place
) -> tuple[nn.Module, Ema | None]:
    """Return the network, with rank 0's values, and the averages of its weights."""
    values = settings.recipe
    torch.manual_seed(settings.seed)  # of GPUs too
    network = agree.together(
        comm, lambda: model.build(values.model, seed=settings.seed)
    )
    bn.configure(network, values.bn)
    for tensor in network.state_dict().values():
        comm.broadcast(tensor, root=0)
    place.hold(network)
    ema = Ema(network, values.ema_decay) if values.ema_decay else None
    if settings.compile:  # each shape by itself: training, evaluation, its last batch
        network.compile(dynamic=False)
        if ema is not None:
            ema.model.compile(dynamic=False)
    return network, ema


def precision_of(settings: Settings, place: Place, size: int) -> Precision:
    """Return how ``size`` ranks compute, with the loss scale that their wire needs."""
    values = settings.recipe
    first = wire.first_scale(values.precision, values.reduction.wire, size)
    return Precision(
        values.precision,
        place.device.type,
        fixed=values.loss_scale,
        first_scale=first,
    )
