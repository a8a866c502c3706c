"""Options: what to measure, from the command line; nothing here needs MPI."""

import argparse
import re
from dataclasses import dataclass
from typing import NoReturn

from collectives import algorithms

from .elements import DTYPES, SIGNIFICAND, storage

OPS = ("sum", "prod", "min", "max", "mean")
BASELINES = ("native", "gloo")
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class WrongUsage(Exception):
    """The command line cannot be obeyed; the message says what would be right."""


@dataclass(frozen=True)
class Options:
    """A benchmark: algorithms, sizes in bytes, elements, operation, repetitions."""

    algorithms: tuple[str, ...]
    min: int = 4
    max: int = 64 << 20
    factor: int = 4
    dtype: str = "float32"
    op: str = "sum"
    iters: int = 20
    warmup: int = 3
    check: bool = True
    seed: int = 0
    json: str | None = None
    csv: str | None = None

    def __post_init__(self) -> None:
        """Check what no single option can.

        Raises:
            WrongUsage: options contradict each other, or a number is out of range.
        """
        if self.op == "mean" and self.dtype not in SIGNIFICAND:
            raise WrongUsage(
                f"--op mean of {self.dtype}: the mean of integers is no integer; "
                f"choose --dtype from {', '.join(SIGNIFICAND)}"
            )
        if not 1 <= self.min <= self.max:
            raise WrongUsage(
                f"--min {self.min} --max {self.max}: expected 1 <= min <= max, in bytes"
            )
        for name, least in (("factor", 2), ("iters", 1), ("warmup", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise WrongUsage(
                    f"--{name} {getattr(self, name)}: expected at least {least}"
                )

    def counts(self) -> list[int]:
        """Return the numbers of elements, sizes rounded up to whole elements."""
        counts, nbytes = [], self.min
        while nbytes <= self.max:
            counts.append(-(-nbytes // storage(self.dtype).itemsize))
            nbytes *= self.factor
        return list(dict.fromkeys(counts))


class Parser(argparse.ArgumentParser):
    """A parser that raises, so that one rank may speak for all."""

    def error(self, message: str) -> NoReturn:
        """Raise the message.

        Raises:
            WrongUsage: always.
        """
        raise WrongUsage(message)


def parse(arguments: list[str] | None = None) -> Options:
    """Read the command line.

    Raises:
        WrongUsage: it has a mistake.
        SystemExit: it asks for help.
    """
    return Options(**vars(parser().parse_args(arguments)))


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m bench.allreduce``."""
    result = Parser(
        prog="python -m bench.allreduce",
        description="Measure allreduce algorithms side by side, and check them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add(
        "--algorithms",
        type=parse_algorithms,
        default="all",
        metavar="A,B,...",
        help=f"all, or some of {', '.join(known())}",
    )
    add("-b", "--min", type=parse_size, default=4, help="first size in bytes")
    add(
        "-e", "--max", type=parse_size, default="64M", help="last size; K, M, G: binary"
    )
    add("-f", "--factor", type=int, default=4, help="from one size to the next")
    add(
        "-d",
        "--dtype",
        choices=DTYPES,
        default="float32",
        metavar="TYPE",
        help=", ".join(DTYPES),
    )
    add("-o", "--op", choices=OPS, default="sum", metavar="OP", help=", ".join(OPS))
    add("-n", "--iters", type=int, default=20, help="timed iterations")
    add("-w", "--warmup", type=int, default=3, help="untimed iterations before them")
    add(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare every element of the last iteration with the exact result",
    )
    add("--seed", type=int, default=0, help="of the contributions")
    add("--json", metavar="FILE", help="write everything measured")
    add("--csv", metavar="FILE", help="write the rows, flat")
    return result


def known() -> list[str]:
    """Return all names ``--algorithms`` takes: ours, auto, and the baselines."""
    ours = [name for name in algorithms.names() if name not in BASELINES]
    return [*ours, "auto", *BASELINES]


def parse_algorithms(text: str) -> tuple[str, ...]:
    """Read names separated by commas, each counted once; ``all`` is all of them."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if "all" in names:
        return tuple(known())
    unknown = [name for name in names if name not in known()]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown algorithm {', '.join(map(repr, unknown))}; choose from all, "
            f"{', '.join(known())}"
        )
    return tuple(names)


def parse_size(text: str) -> int:
    """Read bytes, with a binary suffix.

    >>> parse_size("64M")
    67108864
    """
    match = re.fullmatch(r"(\d+)([KMG]?)", text.strip().upper())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"size {text!r}: expected bytes, or with a suffix K, M or G like 64M"
        )
    return int(match[1]) * UNITS[match[2]]
