"""Weights of a checkpoint, as a file of safetensors for others.

The tensors have torchvision's names and shapes, so that of a ResNet-50

    torchvision.models.resnet50().load_state_dict(safetensors.torch.load_file(path))

takes them all.  torchvision strides in a block's 3x3 convolution (``v1.5``) and does
not blur; a network of ``v1``, or with BlurPool, has the same names and another
arithmetic, and the metadata says which it is.  Running averages of ranks that differ
are pooled as for an evaluation (`trainer.bn`).  Where a run has averages of its weights
these are exported: they are what it evaluates.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from trainer import bn, checkpoint, packages
from trainer.fields import Model
from trainer.model import ResNet

RESNET50 = (3, 4, 6, 3)
PREFIX = "model."


def export(source: str, out: str, *, raw: bool = False) -> dict[str, str]:
    """Write the weights of a checkpoint, and return the metadata beside them.

    ``source`` is a file, or the output of a run, whose last one is taken.  ``raw``: not
    their averages, if it has any.

    Raises:
        InvalidArgument: there is no such checkpoint, or safetensors is not installed.
    """
    path = checkpoint.existing(source)
    packages.check(packages.missing("safetensors"))
    from safetensors.torch import save

    content = checkpoint.read(path)
    averaged = "ema" in content and not raw
    told = metadata(content) | {"weights": "averages" if averaged else "last"}
    part = Path(f"{out}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(save(of(content, raw=raw), metadata=told))
    part.replace(out)
    return told


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


def metadata(content: dict[str, Any]) -> dict[str, str]:
    """Return what a reader of the weights has to know, as text."""
    config, position = content["config"], content["position"]
    shape = (*config["model.blocks"], config["model.width"])
    return {
        "format": "pt",
        "architecture": "resnet50" if shape == (*RESNET50, 64) else "resnet",
        "blocks": ",".join(map(str, config["model.blocks"])),
        "width": str(config["model.width"]),
        "classes": str(config["model.classes"]),
        "stride": config["model.stride"],
        "blurpool": str(config.get("model.blurpool", False)).lower(),
        "data": config["data"],
        "epoch": str(position["epoch"]),
        "update": str(position["step"]),
    }
