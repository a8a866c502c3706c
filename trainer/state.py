"""Put a training into a checkpoint, and back.

The state of a run is its parameters, the optimiser's averages, each rank's running
averages, the averages of all these where there are some (`trainer.ema`), the layout of
the buckets (the order of summation depends on it), the loss scale, torch's random state
on the host, and the position (epoch, samples_seen).  Images
and their augmentation follow from the position alone; nothing draws random numbers on
a device.  All tensors are stored as host tensors: a run may go on on another device.
"""

from copy import deepcopy
from typing import Any

import torch

from trainer import bn, checkpoint, optim, recipe
from trainer.settings import Settings


def save(run: Any) -> None:
    """Write a checkpoint; every rank gives its own running averages to it."""
    averaged = {}
    if run.ema is not None:
        with run.ema.applied():
            averaged["ema"] = deepcopy(network(run))
    weights = network(run)
    scaler = run.precision.state_dict()
    if run.comm.rank == 0:
        position = {
            "epoch": run.epoch,
            "samples_seen": run.samples_seen,
            "step": run.step,
        }
        settings = run.settings
        path = checkpoint.path_of(settings.output, position)
        content = {
            **weights,
            **averaged,
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


def network(run: Any) -> dict[str, Any]:
    """Return what the model has now, and the running averages of every rank."""
    rows = torch.from_numpy(run.comm.allgather(bn.flatten(run.model).numpy()))
    return {
        "model": on_host(run.model.state_dict()),
        "buffers": rows[:1].clone() if (rows == rows[0]).all() else rows,
    }


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

    With another number of ranks the running averages start from their mean over the
    ranks of the checkpoint, and the rest of the epoch is cut into other batches.
    Averages of the weights that the checkpoint does not have begin from its weights.
    """
    if run.ema is not None:
        with run.ema.applied():
            restore_network(run, content.get("ema", content))
    restore_network(run, content)
    optim.restore(run.optimizer, content["optimizer"])
    run.precision.load_state_dict(content.get("scaler", {}))
    run.reducer.restore(content["order"])
    torch.set_rng_state(content["rng"])
    position = content["position"]
    run.epoch, run.step = position["epoch"], position["step"]
    run.samples_seen = position["samples_seen"]


def restore_network(run: Any, content: dict[str, Any]) -> None:
    """Give the model what `network` returned, and this rank's running averages."""
    run.model.load_state_dict(content["model"])
    rows = content["buffers"]
    if len(rows) == 1:
        bn.unflatten(run.model, rows[0])
    elif len(rows) == run.comm.size:
        bn.unflatten(run.model, rows[run.comm.rank])
    else:
        bn.unflatten(run.model, bn.pooled(bn.moments(rows).mean(0)))
