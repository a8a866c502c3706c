"""Batch normalisation over workers.

In training each worker normalises by the statistics of its own microbatch, and keeps
its own running averages (Goyal et al., arXiv:1706.02677, section 2.3: statistics
"should not be computed across all workers"; `trainer.averages`), unless the recipe asks
for those of several workers (`trainer.span`) or of parts of a microbatch
(`trainer.ghost`).  Before each evaluation the running averages become their mean over
the workers, exactly: of the means, and of the mean squares (variance plus squared
mean), in float64.  Averaging variances alone would lose how the workers' means differ.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.fields import Norm
from trainer.ghost import GhostNorm
from trainer.span import SpanNorm


def configure(model: nn.Module, config: Norm) -> None:
    """Set up all normalisations: their kind, eps, and decay of the running averages.

    To evaluate with the last batch's statistics is to forget all earlier ones: then
    they are the mean over the workers of the last update.
    """
    if config.group > 1 or config.ghost:
        replace(model, GhostNorm if config.ghost else SpanNorm)
    decay = 0.0 if config.evaluate == "last_batch" else config.decay
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.eps, module.momentum = config.eps, 1 - decay
        if isinstance(module, GhostNorm):
            module.images = config.ghost


def replace(model: nn.Module, kind: type[nn.BatchNorm2d]) -> None:
    """Have normalisations of another kind, with the same parameters and buffers."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.BatchNorm2d:
            new = kind(module.num_features)
            new.train(module.training)
            new._parameters, new._buffers = module._parameters, module._buffers
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, new)


def running(model: nn.Module) -> list[Tensor]:
    """Return the running means of all normalisations, then their variances."""
    kept = [
        module
        for module in model.modules()
        if getattr(module, "running_mean", None) is not None
    ]
    means = [module.running_mean for module in kept]
    return means + [module.running_var for module in kept]


def flatten(model: nn.Module) -> Tensor:
    """Return all running means, then all running variances, in one vector.

    It lies on the host, wherever the model does.
    """
    return torch.cat(running(model) or [torch.empty(0)]).cpu()


def unflatten(model: nn.Module, flat: Tensor) -> None:
    """Write back what `flatten` returned."""
    parts = running(model)
    if parts:
        flat = flat.to(parts[0].device)
    start = 0
    for part in parts:
        part.copy_(flat[start : start + part.numel()].view_as(part))
        start += part.numel()


def pooled(moments: Tensor) -> Tensor:
    """Return means and variances from means over workers of means and mean squares."""
    mean, square = moments.chunk(2)
    return torch.cat([mean, (square - mean**2).clamp_min(0)])


def pool(rows: Tensor) -> Tensor:
    """Return the means and variances of all from a row of each, in float64.

    One row is itself, to the last bit.
    """
    return pooled(moments(rows).mean(0)) if len(rows) > 1 else rows[0]


def moments(flat: Tensor) -> Tensor:
    """Return means and mean squares, in float64, from means and variances.

    These lie along the last axis.
    """
    mean, variance = flat.double().chunk(2, dim=-1)
    return torch.cat([mean, variance + mean**2], dim=-1)


def synchronise(averages: Any, comm: Any) -> None:
    """Make the rows of all workers of all ranks their exact mean, bitwise equal.

    ``averages`` is a `trainer.averages.Averages`.  Each worker counts once.
    """
    if averages.shared:
        return
    rows = averages.own()
    total = rows.new_zeros(rows.shape[1], dtype=torch.float64)
    for row in rows:
        total += moments(row)
    sums = comm.allreduce(np.append(total.cpu().numpy(), float(len(rows))))
    averages.share(pooled(torch.from_numpy(sums[:-1] / sums[-1])))
