"""Statistics for an evaluation, recomputed with the weights that are evaluated.

Running averages are of weights that have changed since, and so is the last batch.  Here
training images pass through the model once more, without gradients, as they would in
training; means and mean squares of all microbatches of all ranks count alike.

P. Goyal et al., arXiv:1706.02677, section 3 (the averages are an estimate of these).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import nn

from trainer import bn, span
from trainer.training import Training


@contextmanager
def statistics(run: Training, model: nn.Module) -> Iterator[None]:
    """Have ``model``, of ``run``, normalise by recomputed statistics, inside.

    The images are the first ones of the epoch in which the run is: those of
    ``bn.recompute_batches`` updates, at most of the epoch.  Afterwards the model and
    the sampler are as they were, to the bit.
    """
    sampler = run.sampler
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    position = {"epoch": sampler.epoch, "samples_seen": sampler.samples_seen}
    try:
        sampler.start(epoch=run.epoch)
        updates = min(run.settings.recipe.bn.recompute_batches, sampler.updates(0))
        measure(run, model, updates * sampler.accumulation)
        yield
    finally:
        sampler.start(**position)
        for buffer, values in kept:
            buffer.copy_(values)


@torch.no_grad()
def measure(run: Training, model: nn.Module, microbatches: int) -> None:
    """Leave the statistics of so many microbatches of each rank in the model."""
    total = torch.zeros_like(bn.flatten(model), dtype=torch.float64)
    span.use(model, run.span)
    model.train()
    with forgetful(model):
        for images, _ in islice(run.batches, microbatches):
            with run.precision.autocast():
                model(images)
            total += bn.moments(bn.flatten(model))
    mine = np.append(total.numpy(), float(microbatches))
    flat = torch.from_numpy(run.comm.allreduce(mine))
    bn.unflatten(model, bn.pooled(flat[:-1] / flat[-1]))


@contextmanager
def forgetful(model: nn.Module) -> Iterator[None]:
    """Have the running averages be the last batch's statistics, inside."""
    modules = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    decays = [module.momentum for module in modules]
    try:
        for module in modules:
            module.momentum = 1.0
        yield
    finally:
        for module, decay in zip(modules, decays, strict=True):
            module.momentum = decay
