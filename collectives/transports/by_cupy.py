"""By CuPy: NCCL through ``cupy.cuda.nccl``, which comes with CuPy.

It joins by a call that blocks until all ranks have come, and has no other.  So a thread
joins, and whoever waits can be told that a rank does not come.  The thread of a call
that was given up stays in it until the process ends, or the last rank comes after all;
since CuPy 14 that call lets other Python threads run.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..device import EXTRAS, library
from ..errors import UnsupportedArray
from .binding import Binding

OLDEST = 14  # CuPy, whose binding blocks all threads before, and has other ids
IN_PROGRESS = 7
# CuPy has names for the first codes; for a later one it raises KeyError(code).
LATER = {
    6: "ncclRemoteError: a rank has ended, or the network fails",
    8: "ncclTimeout: a rank has not answered in time",
}
ADVICE = "NCCL_DEBUG=WARN tells more"


def load() -> Binding:
    """Return the binding.

    Raises:
        UnsupportedArray: CuPy, or NCCL itself, is missing or too old.
    """
    cupy = library()
    try:
        import cupy.cuda.nccl as nccl
    except ImportError as error:
        raise UnsupportedArray(f"NCCL cannot be loaded ({error}): {EXTRAS}") from None
    if int(cupy.__version__.partition(".")[0]) < OLDEST:
        raise UnsupportedArray(f"CuPy {cupy.__version__} is too old for NCCL: {EXTRAS}")
    if not nccl.available:
        raise UnsupportedArray(f"CuPy finds no libnccl.so.2: {EXTRAS}")
    return Binding("cupy", nccl, Member, translated, nccl.groupStart, nccl.groupEnd)


@contextmanager
def translated(nccl: Any) -> Iterator[None]:
    """Raise RuntimeError for what CuPy raises of NCCL's errors, with what it means."""
    try:
        yield
    except nccl.NcclError as error:
        raise RuntimeError(f"{error} ({ADVICE})") from error
    except KeyError as error:
        meaning = LATER.get(error.args[0], f"NCCL's error {error.args[0]}")
        raise RuntimeError(f"{meaning} ({ADVICE})") from error


class Member:
    """This rank's part of a communicator, which a thread joins."""

    def __init__(
        self, nccl: Any, size: int, unique: bytes, rank: int, gpu: Any
    ) -> None:
        """Begin to join."""
        self.nccl = nccl
        self.comm: Any = None
        self.error: Exception | None = None
        self.lock, self.left = threading.Lock(), False
        self.thread = threading.Thread(
            target=self.join, args=(size, unique, rank, gpu), name="nccl", daemon=True
        )
        self.thread.start()

    def join(self, size: int, unique: bytes, rank: int, gpu: Any) -> None:
        """Join; on a thread, whose current GPU is its own affair."""
        try:
            with gpu, translated(self.nccl):
                comm = self.nccl.NcclCommunicator(size, unique, rank)
        except Exception as error:
            self.error = error
            return
        with self.lock:
            self.comm = comm
            late = self.left
        if late:
            comm.abort()

    def ready(self) -> bool:
        """Say whether the communicator is there."""
        if self.error is not None:
            raise self.error
        if self.comm is None:
            return False
        with translated(self.nccl):
            try:
                self.comm.check_async_error()
            except (self.nccl.NcclError, KeyError) as error:
                if getattr(error, "status", error.args[0]) != IN_PROGRESS:
                    raise
                return False
        return True

    def allreduce(self, at: int, count: int, type_: int, op: int, stream: int) -> None:
        """Call ncclAllReduce."""
        with translated(self.nccl):
            self.comm.allReduce(at, at, count, type_, op, stream)

    def reduce(
        self, at: int, count: int, type_: int, op: int, root: int, stream: int
    ) -> None:
        """Call ncclReduce."""
        with translated(self.nccl):
            self.comm.reduce(at, at, count, type_, op, root, stream)

    def broadcast(
        self, at: int, count: int, type_: int, root: int, stream: int
    ) -> None:
        """Call ncclBroadcast."""
        with translated(self.nccl):
            self.comm.broadcast(at, at, count, type_, root, stream)

    def reduce_scatter(
        self, at: int, mine: int, count: int, type_: int, op: int, stream: int
    ) -> None:
        """Call ncclReduceScatter."""
        with translated(self.nccl):
            self.comm.reduceScatter(at, mine, count, type_, op, stream)

    def allgather(
        self, mine: int, at: int, count: int, type_: int, stream: int
    ) -> None:
        """Call ncclAllGather."""
        with translated(self.nccl):
            self.comm.allGather(mine, at, count, type_, stream)

    def handle(self) -> int:
        """Return the ``ncclComm_t``."""
        return int(self.comm.comm)

    def abort(self) -> None:
        """Call ncclCommAbort; if the thread still joins, it will, should it get out."""
        with self.lock:
            self.left = True
            comm = self.comm
        if comm is not None:
            comm.abort()

    def destroy(self) -> None:
        """Call ncclCommDestroy."""
        self.comm.destroy()
