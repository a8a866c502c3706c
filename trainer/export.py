"""Export weights: ``python -m trainer.export [--raw] CHECKPOINT OUT.safetensors``.

CHECKPOINT is a file, or the output of a run, whose last one is taken.  The tensors have
torchvision's names and shapes, so that of a ResNet-50

    torchvision.models.resnet50().load_state_dict(safetensors.torch.load_file(path))

takes them all.  torchvision strides in a block's 3x3 convolution (``v1.5``) and does
not blur; a network of ``v1``, or with BlurPool, has the same names and another
arithmetic, and the metadata says which it is.  What is taken of a checkpoint
`trainer.weights` tells; ``--raw`` asks for the weights.  Exit codes: 0 done; 2 usage.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collectives import InvalidArgument, usage
from trainer import packages
from trainer.interrupt import EXIT_USAGE

RESNET50 = (3, 4, 6, 3)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = usage.Parser(
        prog="python -m trainer.export",
        description="Write the weights of a checkpoint for torchvision's resnet50.",
    )
    parser.add_argument("checkpoint", help="a checkpoint-*.pt, or the output of a run")
    parser.add_argument("out", help="file to write, *.safetensors")
    parser.add_argument(
        "--raw", action="store_true", help="the weights, not their averages"
    )
    try:
        options = parser.parse_args(argv)
        if not options.out.endswith(".safetensors"):
            parser.error(f"got {options.out}, expected the name of a *.safetensors")
        packages.check(packages.missing("torch"))
        told = export(options.checkpoint, options.out, raw=options.raw)
    except (InvalidArgument, OSError) as error:
        print(f"trainer.export: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(f"wrote {options.out}")
    for key, value in told.items():
        print(f"{key}: {value}")
    return 0


def export(source: str, out: str, *, raw: bool = False) -> dict[str, str]:
    """Write the weights of a checkpoint, and return the metadata beside them.

    ``source`` is a file, or the output of a run, whose last one is taken.  ``raw``: not
    their averages, if it has any.

    Raises:
        InvalidArgument: there is no such checkpoint, or safetensors is not installed.
    """
    from trainer import checkpoint, weights  # which need torch

    path = checkpoint.existing(source)
    packages.check(packages.missing("safetensors"))
    from safetensors.torch import save

    content = checkpoint.read(path)
    averaged = "ema" in content and not raw
    told = metadata(content) | {"weights": "averages" if averaged else "last"}
    part = Path(f"{out}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(save(weights.of(content, raw=raw), metadata=told))
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
