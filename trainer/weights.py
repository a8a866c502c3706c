"""Weights of a checkpoint: parameters and running averages, as a network holds them.

Running averages of ranks that differ are pooled as for an evaluation (`trainer.bn`).
Where a run has averages of its weights these are taken: they are what it evaluates.
"""

from typing import Any

from torch import Tensor

from trainer import bn
from trainer.fields import Model
from trainer.model import ResNet

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
