"""Put a training into a checkpoint, and back.

The state of a run is its parameters, the optimiser's averages, each worker's running
averages, the averages of all these where there are some (`trainer.ema`), the layout of
the buckets (the order of summation depends on it), the loss scale, torch's random state
on the host, and the position (epoch, samples_seen).  Images and their augmentation
follow from the position alone; nothing draws random numbers on a device.  All tensors
are stored as host tensors: a run may go on on another device.
"""

from typing import Any

import torch
from torch import nn

from trainer import checkpoint, groups, optim, recipe
from trainer.averages import Averages
from trainer.settings import Settings


def save(run: Any) -> None:
    """Write a checkpoint; every rank gives its workers' running averages to it."""
    content = network(run.model, run.averages, run.comm)
    if run.ema is not None:
        content["ema"] = network(run.ema.model, run.ema.averages, run.comm)
    scaler = run.precision.state_dict()
    if run.comm.rank == 0:
        position = {
            "epoch": run.epoch,
            "samples_seen": run.samples_seen,
            "step": run.step,
        }
        settings = run.settings
        path = checkpoint.path_of(settings.output, position)
        content |= {
            "optimizer": on_host(run.optimizer.state_dict()),
            "scaler": scaler,
            "order": run.reducer.order,
            "position": position,
            "rng": torch.get_rng_state(),
            "ranks": run.comm.size,
            "config": config(settings),
        }
        checkpoint.write(path, content, keep=settings.keep)
        run.recorder.event("checkpoint", path=str(path), **position)


def network(model: nn.Module, averages: Averages, comm: Any) -> dict[str, Any]:
    """Return what a network has, and on rank 0 the running averages of all workers."""
    buffers = averages.gather(comm)
    return {"model": on_host(model.state_dict()), "buffers": buffers}


def on_host(tree: Any) -> Any:
    """Return nested dictionaries with every tensor on the host."""
    if isinstance(tree, dict):
        return {key: on_host(value) for key, value in tree.items()}
    return tree.cpu() if isinstance(tree, torch.Tensor) else tree


def config(settings: Settings) -> dict[str, Any]:
    """Return what a checkpoint notes of its run: recipe, seed and data."""
    return {
        **dict(recipe.flatten(settings.recipe)),
        "seed": settings.seed,
        "data": settings.data,
    }


def restore(run: Any, content: dict[str, Any]) -> None:
    """Put the run where the checkpoint was; with the same number of ranks, exactly.

    With another number of ranks and the same batch, sums are taken in another order,
    and nothing else differs: each worker goes on from its own running averages.  With
    another batch the rest of the epoch is cut anew, and where that has another number
    of workers, each starts from the pool of the averages.  Averages of the weights that
    the checkpoint does not have begin from its weights.
    """
    position = content["position"]
    run.epoch, run.step = position["epoch"], position["step"]
    run.samples_seen = position["samples_seen"]
    phase, sampler = run.phase, run.sampler
    groups.cut(sampler, phase, run.settings.recipe.bn)
    rows = sampler.batch // sampler.per_worker
    parts = [(run.model, run.averages, content)]
    if run.ema is not None:
        stored = content.get("ema", content)
        parts.append((run.ema.model, run.ema.averages, stored))
    for model, averages, stored in parts:
        model.load_state_dict(stored["model"])
        averages.restore(stored["buffers"], workers=sampler.workers, of=rows)
    optim.restore(run.optimizer, content["optimizer"])
    run.precision.load_state_dict(content.get("scaler", {}))
    run.reducer.restore(content["order"])
    torch.set_rng_state(content["rng"])
