"""NCCL: the group calls of ranks whose arrays lie on GPUs.

An NCCL communicator is made when a group first calls: rank 0 of the group makes an id,
all others confirm that they have it, and only then anybody joins, since joining blocks
until all do.  Group calls of one endpoint run one after the other, in the order of the
program, so all ranks give them to NCCL in the same order.

NCCL wants pieces of equal length; unequal ones go as one reduction or broadcast each,
grouped into one launch.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arrays import DType
from ..chunk import Chunk
from ..device import EXTRAS, Queue, library
from ..errors import UnsupportedArray
from ..step import KINDS, GroupCall
from ..topology import Topology
from .staged import Steps

TYPES = {
    "int8": "NCCL_INT8",
    "uint8": "NCCL_UINT8",
    "int32": "NCCL_INT32",
    "uint32": "NCCL_UINT32",
    "int64": "NCCL_INT64",
    "uint64": "NCCL_UINT64",
    "float16": "NCCL_FLOAT16",
    "bfloat16": "NCCL_BFLOAT16",
    "float32": "NCCL_FLOAT32",
    "float64": "NCCL_FLOAT64",
}
OPS = {"sum": "NCCL_SUM", "prod": "NCCL_PROD", "min": "NCCL_MIN", "max": "NCCL_MAX"}
ID_TAG = 1  # of the messages of ``point``


class Nccl:
    """The engine of one endpoint's groups; ``point`` passes ids, and nothing else."""

    kinds = KINDS

    def __init__(self, point: Any, queue: Queue) -> None:
        """Begin without communicators."""
        self.point, self.queue, self.rank = point, queue, point.rank
        self.nccl = nccl_module()
        self.stream = queue.cuda.Stream(non_blocking=True)
        self.made: dict[tuple[int, ...], Any] = {}
        self.ticks = 0  # group calls that have ended

    def supports(self, dtype: DType) -> bool:
        """Say whether NCCL has the type."""
        return dtype.name in TYPES

    def start(self, call: GroupCall, data: Any, dtype: DType, op: str) -> Steps:
        """Begin a group call on ``data``, this rank's elements of its chunk."""
        return Steps(self.carry_out(call, data, dtype, op))

    def carry_out(
        self, call: GroupCall, data: Any, dtype: DType, op: str
    ) -> Iterator[None]:
        """Join the group if need be, launch, and wait for the end."""
        if call.group not in self.made:
            yield from self.join(call.group)
        comm, stream = self.made[call.group], self.stream
        stream.wait_event(self.queue.record(self.queue.kernels))
        self.launch(comm, call, data, dtype, op)
        ended = self.queue.record(stream)
        while not ended.done:
            comm.check_async_error()
            yield
        self.ticks += 1

    def join(self, group: tuple[int, ...]) -> Iterator[None]:
        """Make the communicator of a group, when all its ranks have come."""
        me, size = group.index(self.rank), len(group)
        if me == 0:
            unique = self.nccl.get_unique_id()
            told = np.array(unique, np.int8)
            yield from self.all(self.point.isend, told, group[1:])
            yield from self.all(self.point.irecv, np.empty(1, np.int8), group[1:])
            yield from self.all(self.point.isend, np.zeros(1, np.int8), group[1:])
        else:
            told = np.empty(len(self.nccl.get_unique_id()), np.int8)
            yield from self.all(self.point.irecv, told, group[:1])
            yield from self.all(self.point.isend, np.zeros(1, np.int8), group[:1])
            yield from self.all(self.point.irecv, np.empty(1, np.int8), group[:1])
            unique = tuple(told.tolist())
        self.made[group] = self.nccl.NcclCommunicator(size, unique, me)

    def all(
        self, begin: Any, data: np.ndarray, peers: tuple[int, ...]
    ) -> Iterator[None]:
        """Send to all peers, or receive from them, one after the other."""
        for peer in peers:
            request = begin(data, peer, ID_TAG)
            while not request.Test():
                yield

    def launch(
        self, comm: Any, call: GroupCall, data: Any, dtype: DType, op: str
    ) -> None:
        """Give a group call to NCCL."""
        kind, group, _, root = call
        me, size = group.index(self.rank), len(group)
        at, bytes_each, stream = data.data.ptr, dtype.itemsize, self.stream.ptr
        type_, op_ = getattr(self.nccl, TYPES[dtype.name]), getattr(self.nccl, OPS[op])
        if kind == "allreduce":
            comm.allReduce(at, at, data.size, type_, op_, stream)
            return
        if kind in ("reduce", "broadcast"):
            at_root = group.index(root)
            if kind == "reduce":
                comm.reduce(at, at, data.size, type_, op_, at_root, stream)
            else:
                comm.bcast(at, data.size, type_, at_root, stream)
            return
        pieces = Chunk(0, data.size).split(size)
        mine = at + pieces[me].start * bytes_each
        count = pieces[0].size
        if data.size == count * size:
            if kind == "reduce_scatter":
                comm.reduceScatter(at, mine, count, type_, op_, stream)
            else:
                comm.allGather(mine, at, count, type_, stream)
            return
        self.nccl.groupStart()
        for i, piece in enumerate(pieces):
            if not piece.size:
                continue
            start = at + piece.start * bytes_each
            if kind == "reduce_scatter":
                comm.reduce(start, start, piece.size, type_, op_, i, stream)
            else:
                comm.bcast(start, piece.size, type_, i, stream)
        self.nccl.groupEnd()

    def abort(self) -> None:
        """Give up what is under way: a peer does not come any more."""
        for comm in self.made.values():
            comm.abort()
        self.made.clear()

    def close(self) -> None:
        """Destroy the communicators."""
        for comm in self.made.values():
            comm.destroy()
        self.made.clear()


class Seat(NamedTuple):
    """Where a rank's arrays are: the GPU's bus address, and NCCL's version or lack."""

    gpu: str
    version: int | None
    lack: str


def seat() -> Seat:
    """Return this rank's."""
    gpu = str(library().cuda.Device().pci_bus_id)
    try:
        return Seat(gpu, int(nccl_module().get_version()), "")
    except UnsupportedArray as error:
        return Seat(gpu, None, str(error))


def unusable(seats: Sequence[Seat], topology: Topology) -> str | None:
    """Say why group calls become messages; None if NCCL carries them out.

    It is the same on all ranks, whose schedules must agree.
    """
    if all(len(node) == 1 for node in topology.nodes):
        return "one a node, nothing to join"
    for rank, one in enumerate(seats):
        if one.version is None:
            return f"messages, rank {rank}: {one.lack}"
        if one.version != seats[0].version:
            return (
                f"messages, NCCL is {seats[0].version} and {one.version} (rank {rank})"
            )
    for node in topology.nodes:
        if len({seats[rank].gpu for rank in node}) < len(node):
            return f"messages, some of the ranks {node} share a GPU"
    return None


def nccl_module() -> Any:
    """Return CuPy's binding of NCCL.

    Raises:
        UnsupportedArray: CuPy, or NCCL itself, is missing.
    """
    library()
    try:
        import cupy.cuda.nccl as nccl
    except ImportError as error:
        raise UnsupportedArray(f"NCCL cannot be loaded ({error}): {EXTRAS}") from None
    if not nccl.available:
        raise UnsupportedArray(f"CuPy finds no libnccl.so.2: {EXTRAS}")
    return nccl
