"""Options of the input benchmark."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collectives import InvalidArgument, usage

from .command import unwritable

NAME = "python -m bench.data"
DECODERS = ("pillow", "simplejpeg")
RESIZE = 256  # pixels, short side in an evaluation: no image is larger


@dataclass(frozen=True)
class Options:
    """What to measure."""

    workers: tuple[int, ...]  # loading processes; 0: the rank itself
    sizes: tuple[int, ...]  # pixels of a side
    decoders: tuple[str, ...]
    images: int
    batch: int
    rounds: int
    json: str | None


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line.

    Raises:
        InvalidArgument: it cannot be obeyed.
    """
    parser = usage.Parser(
        prog=NAME, description="Measure how many images a second can be loaded."
    )
    add = parser.add_argument
    add("--workers", type=numbers(0), default="0,1,2", help="loading processes")
    add("--sizes", type=numbers(1), default="224,128", help="pixels of a side")
    add("--decoders", default=",".join(installed()), help=f"some of {DECODERS}")
    add("--images", type=int, default=128, help="different images (128)")
    add("--batch", type=int, default=8, help="images of a batch (8)")
    add("--rounds", type=int, default=3, help="timed turns of each case (3)")
    add("--json", help="file to write")
    options = vars(parser.parse_args(arguments))
    options["decoders"] = tuple(options["decoders"].split(","))
    return checked(Options(**options))


def numbers(least: int) -> Callable[[str], tuple[int, ...]]:
    """Return a reader of numbers with commas between them."""

    def read(text: str) -> tuple[int, ...]:
        found = tuple(int(part) for part in text.split(",") if part.isdigit())
        if len(found) != text.count(",") + 1 or min(found) < least:
            raise ArgumentTypeError(
                f"got {text!r}, expected numbers from {least} on, like 1,2"
            )
        return found

    return read


def installed() -> list[str]:
    """Return the decoders that are there."""
    from trainer.images import decode

    return [name for name in DECODERS if name in ("pillow", decode.fastest())]


def checked(options: Options) -> Options:
    """Return the options, if they can be obeyed.

    Raises:
        InvalidArgument: saying which cannot, and what is valid.
    """
    for decoder in options.decoders:
        if decoder not in DECODERS:
            raise InvalidArgument(
                f"--decoders: got {decoder!r}, expected some of {', '.join(DECODERS)}"
            )
        if decoder not in installed():
            raise InvalidArgument(
                f"--decoders: {decoder} is not installed; pip install {decoder}, or "
                f"--decoders {','.join(installed())}"
            )
    if max(options.sizes) > RESIZE:
        raise InvalidArgument(
            f"--sizes: got {max(options.sizes)}, expected {RESIZE} or less"
        )
    least = min(options.batch, options.rounds, options.images - options.batch + 1)
    if least < 1:
        raise InvalidArgument(
            "--batch, --rounds: expected at least 1, and --images no less than --batch"
        )
    problem = unwritable(options.json)
    if problem is not None:
        raise InvalidArgument(problem)
    return options
