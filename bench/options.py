"""Options: what to measure, from the command line; nothing here needs MPI."""

import argparse
from dataclasses import dataclass
from functools import partial

from collectives import InvalidArgument, algorithms, usage

from .command import parse_size
from .elements import DTYPES, SIGNIFICAND, storage

OPS = ("sum", "prod", "min", "max", "mean")
BASELINES = ("native", "gloo", "nccl")
DEVICES = ("cpu", "cuda")
TRANSPORTS = ("auto", "device", "staged")
OVERLAPS = ("staged", "device", "off")
PLOTS = (".svg", ".png")
TIMEOUT_S = 60.0  # without progress: then a contender is broken


@dataclass(frozen=True)
class Options:
    """A benchmark: algorithms, sizes in bytes, elements, operation, repetitions.

    ``sizes``, where there are any, take the place of ``min``, ``max`` and ``factor``.
    """

    algorithms: tuple[str, ...]
    min: int = 4
    max: int = 64 << 20
    factor: int = 4
    sizes: tuple[int, ...] = ()
    dtype: str = "float32"
    op: str = "sum"
    iters: int = 20
    warmup: int = 3
    check: bool = True
    seed: int = 0
    registered: bool = False
    device: str = "cpu"
    share_gpu: bool = False
    gpu_transport: str = "auto"
    overlap: str = "staged"
    json: str | None = None
    csv: str | None = None
    plot: str | None = None
    compare: str | None = None
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        """Check what no single option can.

        Raises:
            InvalidArgument: options contradict each other, or a number is out of range.
        """
        if self.op == "mean" and self.dtype not in SIGNIFICAND:
            raise InvalidArgument(
                f"--op mean of {self.dtype}: the mean of integers is no integer; "
                f"choose --dtype from {', '.join(SIGNIFICAND)}"
            )
        if not 1 <= self.min <= self.max:
            raise InvalidArgument(
                f"--min {self.min} --max {self.max}: expected 1 <= min <= max, in bytes"
            )
        if self.sizes and min(self.sizes) < 1:
            raise InvalidArgument(
                f"--sizes: got {min(self.sizes)}, expected at least 1 byte"
            )
        for name in ("share_gpu", "gpu_transport", "overlap"):
            if self.device == "cpu" and getattr(self, name) != getattr(Options, name):
                raise InvalidArgument(
                    f"--{name.replace('_', '-')} is of GPUs: with --device cuda"
                )
        if not 0 <= self.tolerance < 1:
            raise InvalidArgument(
                f"--tolerance {self.tolerance}: expected a fraction, 0 <= tolerance < 1"
            )
        if self.plot is not None:
            check_plot(self.plot)
        for name, least in (("factor", 2), ("iters", 1), ("warmup", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise InvalidArgument(
                    f"--{name} {getattr(self, name)}: expected at least {least}"
                )

    def counts(self) -> list[int]:
        """Return the numbers of elements, sizes rounded up to whole elements."""
        sizes, nbytes = list(self.sizes), self.min
        while nbytes <= self.max and not self.sizes:
            sizes.append(nbytes)
            nbytes *= self.factor
        itemsize = storage(self.dtype).itemsize
        return list(dict.fromkeys(-(-nbytes // itemsize) for nbytes in sizes))


def parse(arguments: list[str] | None = None) -> Options:
    """Read the command line.

    Raises:
        InvalidArgument: it has a mistake.
        SystemExit: it asks for help.
    """
    given = vars(parser().parse_args(arguments))
    given["algorithms"] = parse_algorithms(given["algorithms"], given["device"])
    steps = [name for name in ("min", "max", "factor") if name in given]
    if "sizes" in given and steps:
        raise InvalidArgument(
            f"--sizes and --{', --'.join(steps)}: give exact sizes, or first, last and "
            "factor"
        )
    return Options(**given)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m bench.allreduce``."""
    result = usage.Parser(
        prog="python -m bench.allreduce",
        description="Measure allreduce algorithms side by side, and check them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add_what(result)
    add_how(result)
    add_where(result)
    add_output(result)
    return result


def add_what(parser: usage.Parser) -> None:
    """Add the options that say what is reduced.

    Sizes have their defaults in `Options`: `parse` has to know which were given.
    """
    add = parser.add_argument
    add(
        "--algorithms",
        default="all",
        metavar="A,B,...",
        help=f"all, or some of {', '.join(known())}",
    )
    size = partial(add, default=argparse.SUPPRESS)
    size("-b", "--min", type=parse_size, help="first size in bytes (default: 4)")
    size("-e", "--max", type=parse_size, help="last size; K, M, G: binary (64M)")
    size("-f", "--factor", type=int, help="from one size to the next (4)")
    size(
        "--sizes",
        type=parse_sizes,
        metavar="S,T,...",
        help="exactly these sizes, instead of the last three",
    )
    names = ", ".join(DTYPES)
    add("-d", "--dtype", choices=DTYPES, default="float32", metavar="TYPE", help=names)
    add("-o", "--op", choices=OPS, default="sum", metavar="OP", help=", ".join(OPS))
    add(
        "--registered",
        action="store_true",
        help="allocate the buffers by Communicator.empty, for all contenders",
    )


def add_how(parser: usage.Parser) -> None:
    """Add the options that say how often, and whether results are checked."""
    add = parser.add_argument
    add("-n", "--iters", type=int, default=20, help="timed iterations")
    add("-w", "--warmup", type=int, default=3, help="untimed iterations before them")
    add(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare every element of the last iteration with the exact result",
    )
    add("--seed", type=int, default=0, help="of the contributions")


def add_where(parser: usage.Parser) -> None:
    """Add the options that say where the buffers lie, and how they travel from GPUs."""
    add = parser.add_argument
    add("--device", choices=DEVICES, default="cpu", help="where the buffers lie")
    add("--share-gpu", action="store_true", help="let several ranks have the same GPU")
    add(
        "--gpu-transport",
        choices=TRANSPORTS,
        default="auto",
        help="hand device memory to MPI, or copies in host memory",
    )
    add(
        "--overlap",
        choices=OVERLAPS,
        default="staged",
        help="how messages between nodes overlap NCCL inside them",
    )


def add_output(parser: usage.Parser) -> None:
    """Add the options that say what becomes of the results."""
    add = parser.add_argument
    add("--json", metavar="FILE", help="write everything measured")
    add("--csv", metavar="FILE", help="write the rows, flat")
    add("--plot", metavar="FILE", help="draw bus bandwidth against size; .svg or .png")
    add("--compare", metavar="OLD.json", help="then compare with an earlier --json")
    add(
        "--tolerance",
        type=float,
        default=Options.tolerance,
        metavar="T",
        help="name what lost more than this fraction of its ratio to native",
    )


def known() -> list[str]:
    """Return all names ``--algorithms`` takes: ours, auto, and the baselines."""
    ours = [name for name in algorithms.names() if name not in BASELINES]
    return [*ours, "auto", *BASELINES]


def parse_algorithms(text: str, device: str = "cuda") -> tuple[str, ...]:
    """Read names separated by commas, each counted once.

    ``all`` is all of them that reduce arrays of the device.

    Raises:
        InvalidArgument: a name is not known.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if "all" in names:
        return tuple(n for n in known() if n != "nccl" or device == "cuda")
    unknown = [name for name in names if name not in known()]
    if unknown:
        raise InvalidArgument(
            f"--algorithms: unknown algorithm {', '.join(map(repr, unknown))}; choose "
            f"from all, {', '.join(known())}"
        )
    return tuple(names)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read sizes separated by commas.

    >>> parse_sizes("4,1M")
    (4, 1048576)
    """
    return tuple(map(parse_size, text.split(",")))


def check_plot(path: str) -> None:
    """Check that a picture's name ends as one that can be drawn.

    Raises:
        InvalidArgument: it does not.
    """
    if not path.lower().endswith(PLOTS):
        raise InvalidArgument(
            f"--plot {path}: expected a file name that ends in {' or '.join(PLOTS)}"
        )
