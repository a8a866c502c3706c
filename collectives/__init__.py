"""Allreduce algorithms for MPI as readable schedules.

Importing this package loads neither mpi4py, torch nor CuPy: what needs them imports
them when it is first used.
"""

from typing import Any

from . import algorithms
from .abort import abort_on_exception
from .choice import Choice
from .chunk import Chunk
from .errors import (
    CollectiveError,
    Deadlock,
    InvalidArgument,
    RankFailed,
    ShapeMismatch,
    Stalled,
    UnsupportedArray,
    UnsupportedTopology,
    WrongResult,
)
from .machine import Link, Machine
from .step import Exchange, GroupCall
from .topology import Topology

__version__ = "0.1.0"
__all__ = [
    "Choice",
    "Chunk",
    "CollectiveError",
    "Communicator",
    "Deadlock",
    "Exchange",
    "GroupCall",
    "InvalidArgument",
    "Link",
    "Machine",
    "RankFailed",
    "ShapeMismatch",
    "Stalled",
    "Topology",
    "UnsupportedArray",
    "UnsupportedTopology",
    "Work",
    "WrongResult",
    "abort_on_exception",
    "algorithms",
    "arrays",
    "aware",
    "gpu",
    "host",
    "job",
    "kernels",
    "pingpong",
    "tuned",
    "usage",
]


def __dir__() -> list[str]:
    """List what there is, imported or not."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import on first use what needs NumPy: the communicator and its handles."""
    if name in ("Communicator", "Work"):
        from . import communicator

        return getattr(communicator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
