"""Binding: a Python package that calls NCCL, and what is asked of its communicators."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol


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


@dataclass
class Binding:
    """A Python package that calls NCCL, by its module ``nccl``.

    ``member`` makes its `Member`; what it raises of NCCL's errors within ``translated``
    comes out as RuntimeError.  ``begin`` and ``end`` enclose the calls of a group.
    """

    name: str
    nccl: Any
    member: Callable[[Any, int, bytes, int, Any], Member]
    translated: Callable[[Any], AbstractContextManager[None]]
    begin: Callable[[], Any]
    end: Callable[[], Any]

    def version(self) -> int:
        """Return the number of the library, 22809 for 2.28.9."""
        return int(self.nccl.get_version())

    def unique_id(self) -> bytes:
        """Return what the ranks of a new communicator have in common."""
        with self.translated(self.nccl):
            return bytes(self.nccl.get_unique_id())

    def join(self, size: int, unique: bytes, rank: int, gpu: Any) -> Member:
        """Begin to join, on ``gpu``, a context; done when `Member.ready` says so."""
        return self.member(self.nccl, size, unique, rank, gpu)

    @contextmanager
    def group(self) -> Iterator[None]:
        """Have the calls in the context launched as one."""
        with self.translated(self.nccl):
            self.begin()
            try:
                yield
            finally:  # an open group would swallow all later calls
                self.end()
