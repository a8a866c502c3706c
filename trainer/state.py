"""Put a training into a checkpoint, and back.

The state of a run is its parameters, the optimiser's averages, each worker's running
averages, the averages of all these where there are some (`trainer.ema`), the layout of
the buckets (the order of summation depends on it), the loss scale, torch's random state
on the host, and the position (epoch, samples_seen).  Images and their augmentation
follow from the position alone; nothing draws random numbers on a device.  All tensors
are stored as host tensors: a run may go on on another device.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer import checkpoint, groups, optim, recipe, wire
from trainer.averages import Averages
from trainer.settings import Settings
from trainer.training import Training


def save(run: Training) -> None:
    """Write a checkpoint; every rank gives its workers' running averages to it."""
    content = network(run, run.model, run.averages)
    if run.ema is not None:
        content["ema"] = network(run, run.ema.model, run.ema.averages)
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
            "top1": run.top1,
            "rng": torch.get_rng_state(),
            "ranks": run.comm.size,
            "config": config(settings),
        }
        checkpoint.write(path, content, keep=settings.keep)
        run.recorder.event("checkpoint", path=str(path), **position)


def network(run: Training, model: nn.Module, averages: Averages) -> dict[str, Any]:
    """Return what a network has to rank 0, with the running averages of all workers."""
    together = groups.of(run.phase, run.settings.recipe.bn, run.comm.size).ranks
    rows = averages.gather(run.comm, every=together)
    if run.comm.rank:
        return {}
    return {"model": on_host(model.state_dict()), "buffers": rows}


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


def read(path: Path, settings: Settings) -> dict[str, Any]:
    """Return the checkpoint that a run with ``settings`` is to go on from.

    Raises:
        InvalidArgument: it is damaged, or of another run.
    """
    content = checkpoint.read(path)
    checkpoint.check(path, content, config(settings))
    return content


def restore(run: Training, content: dict[str, Any]) -> None:
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
    run.top1 = dict(content.get("top1", {}))
    phase, sampler = run.phase, run.sampler
    config = run.settings.recipe.bn
    together = groups.cut(sampler, phase, config).ranks
    mine = [worker // together for worker in sampler.workers]
    of = sampler.batch // sampler.per_worker // together
    parts = [(run.model, run.averages, content)]
    if run.ema is not None:
        stored = content.get("ema", content)
        parts.append((run.ema.model, run.ema.averages, stored))
    for model, averages, stored in parts:
        model.load_state_dict(stored["model"])
        averages.restore(stored["buffers"], mine=mine, of=of)
    optim.restore(run.optimizer, content["optimizer"])
    scaler = dict(content.get("scaler", {}))
    if "scale" in scaler:
        scaler["scale"] *= scale_ratio(run, content["ranks"])
    run.precision.load_state_dict(scaler)
    run.reducer.restore(content["order"])
    torch.set_rng_state(content["rng"])


def scale_ratio(run: Training, before: int) -> float:
    """Return how many times the loss scale of ``before`` ranks suits these ranks.

    Only the scale of float16 on the wire depends on them: a rank sends its share.
    """
    values = run.settings.recipe
    first = [
        wire.first_scale(values.precision, values.reduction.wire, size)
        for size in (run.comm.size, before)
    ]
    return first[0] / first[1] if all(first) else 1.0
