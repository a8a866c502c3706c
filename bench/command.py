"""Command: what all commands of the benchmark do alike: begin, read sizes, refuse."""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from collectives import (
    InvalidArgument,
    UnsupportedTopology,
    WrongResult,
    abort_on_exception,
    gpu,
)

T = TypeVar("T")
ALL_HERE_S = 10.0  # for all ranks to come to a refusal that all have found
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


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


def launched(
    name: str,
    parse: Callable[[list[str]], T],
    carry_out: Callable[[T, list[str], Any], int],
    arguments: list[str] | None = None,
) -> int:
    """Carry out a command line on all ranks; return the exit code.

    ``parse`` reads the arguments, by default those of the process, without MPI;
    ``carry_out`` gets what it returns, the whole command and COMM_WORLD.  The code is
    that of ``carry_out``, 1 if it finds a wrong result, 2 if it cannot obey: that is
    raised by all ranks, and told once.  Any other error ends the job.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(arguments)
    except InvalidArgument as error:
        return refuse(error, name)
    abort_on_exception()
    if getattr(options, "device", "cpu") == "cuda":
        gpu.claim()  # some MPI libraries look for the current GPU when they begin
    from mpi4py import MPI

    try:
        return carry_out(options, [*name.split(), *arguments], MPI.COMM_WORLD)
    except WrongResult as error:
        refuse(error, name)
        return 1
    except (InvalidArgument, UnsupportedTopology) as error:
        return refuse(error, name)


def refuse(error: Exception, name: str) -> int:
    """Say once, on rank 0, what all ranks have found wrong; return the exit code.

    Where the others do not come, only this rank has found it: that ends the job.
    """
    try:
        from mpi4py import MPI
    except ImportError:
        world = None
    else:
        world = MPI.COMM_WORLD
    if world is None or world.rank == 0:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
    if world is not None and not together(world):
        if world.rank != 0:
            print(f"{name}: rank {world.rank}: {error}", file=sys.stderr, flush=True)
        world.Abort(2)
    return 2


def together(world: Any) -> bool:
    """Wait until all ranks are here; say whether they came.

    A launcher may end the others when the first one leaves.
    """
    everyone, end = world.Ibarrier(), time.monotonic() + ALL_HERE_S
    while not everyone.Test():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def check_writable(world: Any, *paths: str | None) -> None:
    """Check the files that rank 0 is to write; all ranks call it.

    Raises:
        InvalidArgument: on all ranks, if one cannot be written.
    """
    problem = world.bcast(unwritable(*paths) if world.rank == 0 else None)
    if problem is not None:
        raise InvalidArgument(problem)


def unwritable(*paths: str | None) -> str | None:
    """Say what is wrong with the files to write, before hours go into them."""
    for path in paths:
        folder = Path(path or "").absolute().parent
        if path and not (folder.is_dir() and os.access(folder, os.W_OK)):
            return f"cannot write {path!r}: {str(folder)!r} is no writable directory"
    return None
