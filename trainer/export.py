"""Export weights: ``python -m trainer.export [--raw] CHECKPOINT OUT.safetensors``.

CHECKPOINT is a file, or the output of a run, whose last one is taken.  What is written
`trainer.weights` tells.  Exit codes: 0 done; 2 usage.
"""

import sys
from collections.abc import Sequence

from collectives import InvalidArgument, usage
from trainer import packages
from trainer.interrupt import EXIT_USAGE


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
        from trainer import weights

        told = weights.export(options.checkpoint, options.out, raw=options.raw)
    except (InvalidArgument, OSError) as error:
        print(f"trainer.export: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(f"wrote {options.out}")
    for key, value in told.items():
        print(f"{key}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
