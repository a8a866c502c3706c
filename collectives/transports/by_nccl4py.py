"""By nccl4py: NCCL through NVIDIA's own package, where it is installed.

Its communicators do not block: a call may still be on its way to the stream when it
returns, and the next one has to wait until NCCL says that it is there.  So joining can
be given up at any time.

The low-level module is used: the other one takes arrays, and knows none of bfloat16 in
storage of another type.  https://github.com/NVIDIA/nccl, bindings/nccl4py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import UnsupportedArray
from .binding import Binding

SUCCESS, IN_PROGRESS = 0, 7  # ncclResult_t
NEEDED = ("Comm", "Config", "comm_init_rank_config", "comm_get_async_error")


def load() -> Binding:
    """Return the binding.

    Raises:
        UnsupportedArray: the package is not installed, too old, or finds no library.
    """
    try:
        from nccl.bindings import nccl

        nccl.get_version()
    except (ImportError, RuntimeError) as error:
        raise UnsupportedArray(
            f"nccl4py cannot be used ({error}): pip install 'nccl4py>=0.6', with an "
            "nvidia-nccl-cu package"
        ) from None
    if not all(hasattr(nccl, name) for name in NEEDED):
        raise UnsupportedArray("nccl4py is too old: pip install 'nccl4py>=0.6'")
    return Binding(
        "nccl4py", nccl, Member, translated, nccl.group_start, nccl.group_end
    )


@contextmanager
def translated(nccl: Any) -> Iterator[None]:
    """Raise RuntimeError for NCCL's errors."""
    try:
        yield
    except nccl.NCCLError as error:
        raise RuntimeError(f"NCCL: {error}") from error


class Member:
    """This rank's part of a communicator that does not block."""

    def __init__(
        self, nccl: Any, size: int, unique: bytes, rank: int, gpu: Any
    ) -> None:
        """Begin to join."""
        self.nccl = nccl
        config = nccl.Config()
        config.blocking = 0
        with gpu, translated(nccl):  # both arguments are copied by the call
            self.comm = nccl.comm_init_rank_config(
                size, bytearray(unique), rank, config.ptr
            )

    def ready(self) -> bool:
        """Say whether the communicator, or the last call, is no more in progress."""
        with translated(self.nccl):
            state = int(self.nccl.comm_get_async_error(self.comm))
            if state not in (SUCCESS, IN_PROGRESS):
                self.nccl.check_status(state)
        return state == SUCCESS

    def allreduce(self, at: int, count: int, type_: int, op: int, stream: int) -> None:
        """Call ncclAllReduce."""
        with translated(self.nccl):
            self.nccl.all_reduce(at, at, count, type_, op, self.comm, stream)

    def reduce(
        self, at: int, count: int, type_: int, op: int, root: int, stream: int
    ) -> None:
        """Call ncclReduce."""
        with translated(self.nccl):
            self.nccl.reduce(at, at, count, type_, op, root, self.comm, stream)

    def broadcast(
        self, at: int, count: int, type_: int, root: int, stream: int
    ) -> None:
        """Call ncclBroadcast."""
        with translated(self.nccl):
            self.nccl.broadcast(at, at, count, type_, root, self.comm, stream)

    def reduce_scatter(
        self, at: int, mine: int, count: int, type_: int, op: int, stream: int
    ) -> None:
        """Call ncclReduceScatter."""
        with translated(self.nccl):
            self.nccl.reduce_scatter(at, mine, count, type_, op, self.comm, stream)

    def allgather(
        self, mine: int, at: int, count: int, type_: int, stream: int
    ) -> None:
        """Call ncclAllGather."""
        with translated(self.nccl):
            self.nccl.all_gather(mine, at, count, type_, self.comm, stream)

    def handle(self) -> int:
        """Return the ``ncclComm_t``."""
        return int(self.comm.handle)

    def abort(self) -> None:
        """Call ncclCommAbort."""
        with translated(self.nccl):
            self.nccl.comm_abort(self.comm)

    def destroy(self) -> None:
        """Call ncclCommDestroy."""
        with translated(self.nccl):
            self.nccl.comm_destroy(self.comm)
