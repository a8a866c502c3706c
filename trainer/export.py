"""Export weights: ``python -m trainer.export [--raw] CHECKPOINT OUT.safetensors``.

CHECKPOINT is a file, or the output of a run, whose last one is taken.  The tensors have
torchvision's names and shapes, so that of a ResNet-50

    torchvision.models.resnet50().load_state_dict(safetensors.torch.load_file(path))

takes them all.  torchvision strides in a block's 3x3 convolution (``v1.5``) and does
not blur; a network of ``v1``, or with BlurPool, has the same names and another
arithmetic, and the metadata says which it is.  Running averages of ranks that differ
are pooled as for an evaluation (`trainer.bn`).  Where a run has averages of its weights
these are exported: they are what it evaluates.  ``--raw`` asks for the weights.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collectives import InvalidArgument
from trainer import checkpoint, weights
from trainer.interrupt import EXIT_USAGE

RESNET50 = (3, 4, 6, 3)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.export",
        description="Write the weights of a checkpoint for torchvision's resnet50.",
    )
    parser.add_argument("checkpoint", help="a checkpoint-*.pt, or the output of a run")
    parser.add_argument("out", help="file to write, *.safetensors")
    parser.add_argument(
        "--raw", action="store_true", help="the weights, not their averages"
    )
    options = parser.parse_args(argv)
    try:
        told = export(options.checkpoint, options.out, raw=options.raw)
    except (InvalidArgument, OSError) as error:
        print(f"trainer.export: {error}", file=sys.stderr)
        return EXIT_USAGE
    for key, value in told.items():
        print(f"{key}: {value}")
    return 0


def export(source: str, out: str, *, raw: bool = False) -> dict[str, str]:
    """Write the weights of a checkpoint, and return the metadata beside them.

    ``raw``: not their averages, if it has any.

    Raises:
        InvalidArgument: there is no such checkpoint, or safetensors is not installed.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise InvalidArgument(
            "safetensors is not installed; pip install 'mpi-collectives[safetensors]'"
        ) from error
    content = checkpoint.read(checkpoint.existing(source))
    averaged = "ema" in content and not raw
    told = metadata(content) | {"weights": "averages" if averaged else "last"}
    part = Path(f"{out}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights.of(content, raw=raw), part, metadata=told)
    part.replace(out)
    return told


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


if __name__ == "__main__":
    sys.exit(main())
