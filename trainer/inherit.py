"""Begin with the weights of another run: ``--start-from``.

Taken is what an export takes (`trainer.weights`): the weights, or their averages where
the run has some, and the pooled running averages of batch normalisation.  The new run
is fresh in all else: optimiser, loss scale, epoch, order of the images; and so may have
other settings, but not another network.
"""

from typing import Any, NamedTuple

from torch import Tensor

from collectives import InvalidArgument
from trainer import checkpoint, recipe, weights
from trainer.fields import Model

NETWORK = ("blocks", "width", "classes", "stride", "blurpool")  # what weights are for


class Inherited(NamedTuple):
    """Weights by name, and whose they are."""

    weights: dict[str, Tensor]
    source: str


def find(source: str, model: Model) -> Inherited:
    """Return the weights of a checkpoint, or of a run's last one, for ``model``.

    Raises:
        InvalidArgument: there is no such checkpoint, or it is of another network.
    """
    path = checkpoint.existing(source, flag="--start-from: ")
    content = checkpoint.read(path)
    check(content["config"], model)
    position = content["position"]
    averages = "averages of the " * ("ema" in content)
    return Inherited(
        weights.of(content),
        f"{averages}weights of {path}, epoch {position['epoch']}, update "
        f"{position['step']}",
    )


def check(config: dict[str, Any], model: Model) -> None:
    """Refuse the weights of another network.

    Raises:
        InvalidArgument: listing the fields that differ.
    """
    there = weights.described(config)
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


def give(run: Any, found: Inherited) -> None:
    """Have a run begin with these weights, and the averages of its own."""
    for part in [run, *filter(None, [run.ema])]:
        part.model.load_state_dict(found.weights)
