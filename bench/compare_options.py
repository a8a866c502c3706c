"""Options of `bench.compare`; nothing here needs MPI or torch."""

import argparse
from dataclasses import dataclass
from typing import Any

from collectives import InvalidArgument, algorithms, usage

from .command import parse_size
from .options import add_where

TRAINER = "trainer"  # all of it
BASELINES = ("ddp-gloo", "ddp-nccl", "none")
DEFAULT = {"cpu": "ours,ddp-gloo,none", "cuda": "ours,none"}
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 2e-2}  # by precision
MODELS = ("resnet50", "tiny")


@dataclass(frozen=True)
class Options:
    """A comparison: contenders, model, images of each rank, updates."""

    trainer: tuple[str, ...]
    model: str = "resnet50"
    image_size: int = 32
    batch: int = 32
    steps: int = 12
    warmup: int = 3
    rounds: int = 2
    tolerance: float = 1e-4
    first_bucket_bytes: int | None = None
    bucket_bytes: int | None = None
    seed: int = 1
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    device: str = "cpu"
    share_gpu: bool = False
    gpu_transport: str = "auto"
    overlap: str = "staged"
    json: str | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InvalidArgument: one is out of range.
        """
        least = {"image_size": 1, "batch": 2, "steps": 1, "warmup": 0, "rounds": 1}
        for name, lowest in {**least, "tolerance": 0, "seed": 0}.items():
            if not getattr(self, name) >= lowest:
                flag = "--" + name.replace("_", "-")
                raise InvalidArgument(
                    f"{flag} {getattr(self, name)}: expected at least {lowest}"
                )
        for name in ("share_gpu", "gpu_transport", "overlap"):
            if self.device == "cpu" and getattr(self, name) != getattr(Options, name):
                flag = "--" + name.replace("_", "-")
                raise InvalidArgument(f"{flag} is of GPUs: with --device cuda")

    def buckets(self) -> dict[str, Any]:
        """Return the sizes in bytes that the reducer is given; others are its own."""
        sizes = {
            "first_bucket_bytes": self.first_bucket_bytes,
            "bucket_bytes": self.bucket_bytes,
        }
        return {name: size for name, size in sizes.items() if size is not None}


def parse(arguments: list[str]) -> Options:
    """Read the command line.

    Raises:
        InvalidArgument: it has a mistake.
        SystemExit: it asks for help.
    """
    given = vars(parser().parse_args(arguments))
    if given["trainer"] is None:
        given["trainer"] = parse_trainers(DEFAULT[given["device"]])
    if given["tolerance"] is None:
        given["tolerance"] = TOLERANCE[given["precision"]]
    return Options(**given)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m bench.compare``."""
    result = usage.Parser(
        prog="python -m bench.compare",
        description="Train the same model in several ways, in turn, and compare them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add(
        "--trainer",
        type=parse_trainers,
        metavar="A,B,...",
        help=f"some of {TRAINER}, ours, ours:ALGORITHM, {', '.join(BASELINES)} "
        f"({DEFAULT['cpu']}; on GPUs {DEFAULT['cuda']})",
    )
    add("--model", choices=MODELS, default="resnet50", help="what is trained")
    add("--image-size", type=int, default=32, help="pixels, both sides")
    add("--batch", type=int, default=32, help="images of each rank in an update")
    add("--steps", type=int, default=12, help="timed updates of a block")
    add("--warmup", type=int, default=3, help="untimed updates before them")
    add("--rounds", type=int, default=2, help="blocks of each contender")
    add(
        "--tolerance",
        type=float,
        help="largest relative difference of an early loss of ours from that of DDP "
        + f"({', '.join(f'{name} {most:g}' for name, most in TOLERANCE.items())})",
    )
    for flag in ("--first-bucket-bytes", "--bucket-bytes"):
        add(flag, type=parse_size, metavar="N", help="of ours; else the trainer's")
    add("--seed", type=int, default=1, help="of weights and images")
    add(
        "--precision",
        choices=TOLERANCE,
        default="float32",
        help="of convolutions and matrix products",
    )
    add("--channels-last", action="store_true", help="a pixel's channels lie together")
    add("--compile", action="store_true", help="have torch compile the model")
    add_where(result)
    add("--json", metavar="FILE", help="write everything measured")
    return result


def parse_trainers(text: str) -> tuple[str, ...]:
    """Read names separated by commas, each counted once."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    ours = [f"ours:{name}" for name in ("auto", *algorithms.names())]
    known = [TRAINER, "ours", *BASELINES, *ours]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown {', '.join(map(repr, unknown))}; choose from {', '.join(known)}"
        )
    return tuple(names)
