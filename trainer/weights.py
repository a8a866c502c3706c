"""Weights of a checkpoint, as its run evaluates them: for an export or another run.

Where a run has averages of its weights (`trainer.ema`) these are taken, with their own
running averages of batch normalisation.  Those of workers that differ are pooled as for
an evaluation (`trainer.bn`).

``--start-from`` gives them to a run that is fresh in all else: optimiser, loss scale,
epoch and order of the images.
"""

from typing import Any

from torch import Tensor

from collectives import InvalidArgument
from trainer import bn, checkpoint, recipe
from trainer.fields import Model
from trainer.model import ResNet
from trainer.settings import Settings

NETWORK = ("blocks", "width", "classes", "stride", "blurpool")  # what weights are for
PREFIX = "model."


def of(content: dict[str, Any], *, raw: bool = False) -> dict[str, Tensor]:
    """Return parameters and pooled running averages of a checkpoint, by name.

    ``raw``: the weights of the last update, even where there are averages.
    """
    stored = content if raw else content.get("ema", content)
    network = ResNet(described(content["config"]))
    network.load_state_dict(stored["model"])
    bn.unflatten(network, bn.pool(stored["buffers"]))
    return {name: t.contiguous() for name, t in network.state_dict().items()}


def described(config: dict[str, Any]) -> Model:
    """Return what a checkpoint's settings say of its network."""
    fields = {
        path.removeprefix(PREFIX): tuple(value) if isinstance(value, list) else value
        for path, value in config.items()
        if path.startswith(PREFIX)
    }
    return Model(**fields)


def find(settings: Settings) -> tuple[dict[str, Tensor], str]:
    """Return the weights that a run begins with, and a line that says whose they are.

    Raises:
        InvalidArgument: there is no such checkpoint, or it is of another network.
    """
    path = checkpoint.existing(settings.start_from or "", flag="--start-from: ")
    content = checkpoint.read(path)
    check(content["config"], settings.recipe.model)
    position = content["position"]
    whose = "averages of the weights" if "ema" in content else "weights"
    return of(content), (
        f"begins with the {whose} of {path}: epoch {position['epoch']}, update "
        f"{position['step']}"
    )


def check(config: dict[str, Any], model: Model) -> None:
    """Refuse the weights of another network.

    Raises:
        InvalidArgument: listing the fields that differ.
    """
    there = described(config)
    different = [
        f"--model.{name} {recipe.show(getattr(there, name))} there, "
        f"{recipe.show(getattr(model, name))} here"
        for name in NETWORK
        if getattr(there, name) != getattr(model, name)
    ]
    if different:
        raise InvalidArgument(
            f"--start-from: the weights are of another network: {'; '.join(different)}"
            "; give its values, or start without --start-from"
        )


def give(run: Any, weights: dict[str, Tensor]) -> None:
    """Have a run begin with these, and averages of its weights as well."""
    for part in [run, *filter(None, [run.ema])]:
        part.model.load_state_dict(weights)
