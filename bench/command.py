"""Command: what all commands of the benchmark do alike: read sizes, refuse, write."""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class WrongUsage(Exception):
    """The command line cannot be obeyed; the message says what would be right."""


class Parser(argparse.ArgumentParser):
    """A parser that raises, so that one rank may speak for all."""

    def error(self, message: str) -> NoReturn:
        """Raise the message.

        Raises:
            WrongUsage: always.
        """
        raise WrongUsage(message)


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


def refuse(error: Exception, name: str) -> int:
    """Say once, on rank 0, what all ranks have found wrong; return the exit code."""
    try:
        from mpi4py import MPI
    except ImportError:
        world = None
    else:
        world = MPI.COMM_WORLD
    if world is None or world.rank == 0:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
    if world is not None:
        world.Barrier()  # a launcher may end the others when the first one leaves
    return 2


def unwritable(*paths: str | None) -> str | None:
    """Say what is wrong with the files to write, before hours go into them."""
    for path in paths:
        folder = Path(path or "").absolute().parent
        if path and not (folder.is_dir() and os.access(folder, os.W_OK)):
            return f"cannot write {path!r}: {str(folder)!r} is no writable directory"
    return None
