"""MPI: messages as bytes, and the library's own allreduce."""

from typing import Any

import numpy as np
from mpi4py import MPI

from ..arrays import DType
from ..scratch import Scratch
from ..step import GroupCall

OPS = {"sum": MPI.SUM, "prod": MPI.PROD, "min": MPI.MIN, "max": MPI.MAX}
MOST = 1 << 30  # elements in a call: the counts of MPI have 32 bits


class PointToPoint:
    """Non-blocking messages of one communicator; the MPI library sees bytes only."""

    def __init__(self, mpi: MPI.Intracomm) -> None:
        """Use ``mpi``, which nobody else may use."""
        self.mpi, self.rank = mpi, mpi.rank
        self.isend_bytes, self.irecv_bytes = mpi.Isend, mpi.Irecv
        self.scratch = Scratch()

    def isend(self, data: np.ndarray, dst: int, tag: int) -> MPI.Request:
        """Begin to send contiguous storage; it must not change until the end."""
        return self.isend_bytes([data, data.nbytes, MPI.BYTE], dst, tag)

    def irecv(self, data: np.ndarray, src: int, tag: int) -> MPI.Request:
        """Begin to receive into contiguous storage."""
        return self.irecv_bytes([data, data.nbytes, MPI.BYTE], src, tag)


class Library:
    """The MPI library's allreduce as a group transport, on the whole communicator.

    It blocks: all ranks have agreed on the call before, so all of them come.
    """

    kinds = ("allreduce",)
    ticks = 0  # nothing is seen of its progress

    def __init__(self, mpi: MPI.Intracomm) -> None:
        """Use ``mpi``, which nobody else may use."""
        self.mpi = mpi

    def start(self, call: GroupCall, data: np.ndarray, dtype: DType, op: str) -> Any:
        """Combine ``data`` in place."""
        self.allreduce(data, data, op)
        return MPI.REQUEST_NULL  # complete

    def allreduce(self, x: np.ndarray, out: np.ndarray, op: str) -> None:
        """Combine ``x`` of all ranks into ``out``, which may be ``x``."""
        if x.size <= MOST:
            self.mpi.Allreduce(MPI.IN_PLACE if x is out else x, out, OPS[op])
            return
        for start in range(0, x.size, MOST):
            part = slice(start, start + MOST)
            send = MPI.IN_PLACE if x is out else x[part]
            self.mpi.Allreduce(send, out[part], OPS[op])


def adds(dtype: DType, op: str) -> bool:
    """Say whether this MPI library can combine the type itself, alike on all ranks.

    Its minimum of a number and NaN is either of them, and may differ between ranks.
    """
    if dtype.floating and op in ("min", "max"):
        return False
    if dtype.name == "bfloat16":
        return False
    if dtype.name == "float16":
        return bool(MPI.Get_version() >= (3, 1)) and half_type() is not None
    return op in OPS


def half_type() -> Any:
    """Return MPI's float16, or None where the library has none."""
    found = getattr(MPI, "FLOAT16_T", MPI.DATATYPE_NULL)
    return None if found == MPI.DATATYPE_NULL else found


def failed(error: BaseException) -> bool:
    """Say whether an error means that another process has died (ULFM)."""
    classes = {
        getattr(MPI, name, None) for name in ("ERR_PROC_FAILED", "ERR_REVOKED")
    } - {None}
    return isinstance(error, MPI.Exception) and error.Get_error_class() in classes


def dead(mpi: MPI.Intracomm) -> str:
    """Name the ranks that are known to have died (ULFM)."""
    ranks = mpi.Get_failed().Translate_ranks(None, mpi.Get_group())
    return f"rank {', '.join(map(str, ranks))}" if len(ranks) else "another rank"
