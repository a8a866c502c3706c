"""Bindings: the Python packages that can call NCCL, and what they are asked for.

``nccl4py`` is taken where it is installed, since its communicators can be given up
while they are being made; else CuPy's own binding.  ``COLLECTIVES_NCCL`` names one.
Ranks may take different ones: what has to agree is the version of the library.
Types and operations have the numbers of nccl.h, which never change.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..errors import UnsupportedArray
from . import by_cupy, by_nccl4py

TYPES = {
    "int8": 0,
    "uint8": 1,
    "int32": 2,
    "uint32": 3,
    "int64": 4,
    "uint64": 5,
    "float16": 6,
    "float32": 7,
    "float64": 8,
    "bfloat16": 9,
}
OPS = {"sum": 0, "prod": 1, "max": 2, "min": 3}
LOADERS: dict[str, Callable[[], Any]] = {
    "nccl4py": by_nccl4py.load,
    "cupy": by_cupy.load,
}
VARIABLE = "COLLECTIVES_NCCL"


class Member(Protocol):
    """This rank's part of an NCCL communicator; all calls are in place.

    ``at`` is the address of the whole data, ``mine`` that of this rank's piece of
    ``count`` elements.  A call may only be made after `ready` has said yes.
    """

    def ready(self) -> bool:
        """Say whether all that was asked for is on the stream, and the GPU may have it.

        Raises:
            RuntimeError: NCCL reports an error, now or of an earlier call.
        """

    def allreduce(self, at: int, count: int, type_: int, op: int, stream: int) -> None:
        """Combine what all have, for all."""

    def reduce(
        self, at: int, count: int, type_: int, op: int, root: int, stream: int
    ) -> None:
        """Combine what all have, for ``root``."""

    def broadcast(
        self, at: int, count: int, type_: int, root: int, stream: int
    ) -> None:
        """Give all what ``root`` has."""

    def reduce_scatter(
        self, at: int, mine: int, count: int, type_: int, op: int, stream: int
    ) -> None:
        """Combine what all have, a piece for each."""

    def allgather(
        self, mine: int, at: int, count: int, type_: int, stream: int
    ) -> None:
        """Give all every rank's piece."""

    def handle(self) -> int:
        """Return the ``ncclComm_t``."""

    def abort(self) -> None:
        """Give up, also while it is being made; kernels that wait for a peer end."""

    def destroy(self) -> None:
        """Free it; all its ranks do."""


class Binding(Protocol):
    """A Python package that calls NCCL."""

    name: str

    def version(self) -> int:
        """Return the number of the library, 22809 for 2.28.9."""

    def unique_id(self) -> bytes:
        """Return what the ranks of a new communicator have in common."""

    def join(self, size: int, unique: bytes, rank: int, gpu: Any) -> Member:
        """Begin to join, on ``gpu``, a context; done when `Member.ready` says so."""

    def group(self) -> AbstractContextManager[None]:
        """Have the calls in the context launched as one."""


def find() -> Binding:
    """Return the binding to use.

    Raises:
        UnsupportedArray: none can be used, or not the one that was asked for.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked and asked not in LOADERS:
        raise UnsupportedArray(
            f"{VARIABLE}={asked}: choose from {', '.join(LOADERS)}, or unset it"
        )
    lacks = []
    for name in [asked] if asked else LOADERS:
        try:
            binding: Binding = LOADERS[name]()
            binding.version()
        except UnsupportedArray as error:
            lacks.append(str(error))
        except Exception as error:  # a package that is broken is none
            lacks.append(f"{name}: {type(error).__name__}: {error}")
        else:
            return binding
    raise UnsupportedArray(lacks[-1])
