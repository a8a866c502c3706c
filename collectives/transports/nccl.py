"""NCCL: the group calls of ranks whose arrays lie on GPUs.

An NCCL communicator is made when a group first calls: rank 0 of the group makes an id,
all others confirm that they have it, and only then anybody joins, since joining waits
until all do.  Group calls of one endpoint run one after the other, in the order of the
program, so all ranks give them to NCCL in the same order.

    kernels |e                                 kernels, and copies
    NCCL's    `-> call of all the group |ended   |
    host                                 `- seen: the call has ended

The host looks at the end of each call: a rank that does not come, or an error that NCCL
reports, is seen, and nobody waits for ever on the GPU.

NCCL wants pieces of equal length; unequal ones go as one reduction or broadcast each,
grouped into one launch.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..arrays import DType
from ..chunk import Chunk
from ..device import Queue, reached
from ..mapped import nccl_version
from ..step import KINDS, GroupCall
from . import bindings
from .binding import Member
from .bindings import OPS, TYPES
from .registered import Place, Registered
from .staged import Steps

log = logging.getLogger("collectives")

ID_TAG = 1  # of the messages of ``point``
ID_BYTES = 128  # NCCL_UNIQUE_ID_BYTES
ABORT_S = 5.0  # for NCCL to give up; it may need its peers for that


class Nccl:
    """The engine of one endpoint's groups; ``point`` passes ids and places only."""

    kinds = KINDS

    def __init__(self, point: Any, queue: Queue) -> None:
        """Begin without communicators."""
        self.point, self.queue, self.rank = point, queue, point.rank
        self.binding = bindings.find()
        with queue.gpu:
            self.stream = queue.cuda.Stream(non_blocking=True)
        self.members: dict[tuple[int, ...], Member] = {}
        self.memory = Registered(queue, self.rank, self.members)
        self.aborted = False
        self.ticks = 0  # group calls that have ended

    def __str__(self) -> str:
        """Say which NCCL it is, and who calls it."""
        return f"NCCL {nccl_version(self.binding.version())}, by {self.binding.name}"

    def supports(self, dtype: DType) -> bool:
        """Say whether NCCL has the type."""
        return dtype.name in TYPES

    def empty(self, nbytes: int) -> Any:
        """Return registered memory as a CuPy array of bytes, None if there is none.

        All ranks call it in the same order.
        """
        return self.memory.empty(nbytes)

    def start(self, call: GroupCall, data: Any, dtype: DType, op: str) -> Steps:
        """Begin a group call on ``data``, this rank's elements of its chunk.

        Raises:
            RuntimeError: the engine has been aborted.
        """
        if self.aborted:
            raise RuntimeError("NCCL has been aborted: make a new communicator")
        return Steps(self.carry_out(call, data, dtype, op))

    def carry_out(
        self, call: GroupCall, data: Any, dtype: DType, op: str
    ) -> Iterator[None]:
        """Join the group if need be, launch, and wait for the end."""
        group, stream = call.group, self.stream
        if group not in self.members:
            yield from self.join(group)
        if self.memory.concerns(group, data.nbytes):
            place = self.memory.place(data.data.ptr, data.nbytes)
            self.memory.settle(group, (yield from self.places(group, place)))
        member = self.members[group]
        stream.wait_event(self.queue.record(self.queue.kernels))
        self.launch(member, call, data, dtype, op)
        yield from waited(member)  # the event must come after the call
        ended = self.queue.record(stream)
        while not reached(ended):
            member.ready()  # raises what NCCL reports
            yield
        self.ticks += 1

    def join(self, group: tuple[int, ...]) -> Iterator[None]:
        """Make the communicator of a group, when all its ranks have come."""
        me, size = group.index(self.rank), len(group)
        send, receive = self.point.isend, self.point.irecv
        unique, empty = np.zeros(ID_BYTES, np.uint8), np.zeros(1, np.uint8)
        if me == 0:
            unique[:] = np.frombuffer(self.binding.unique_id(), np.uint8)
            yield from done([send(unique, r, ID_TAG) for r in group[1:]])
            confirmed = np.empty((size, 1), np.uint8)
            told = [receive(confirmed[i], group[i], ID_TAG) for i in range(1, size)]
            yield from done(told)
            yield from done([send(empty, r, ID_TAG) for r in group[1:]])
        else:
            yield from done([receive(unique, group[0], ID_TAG)])
            yield from done([send(empty, group[0], ID_TAG)])
            yield from done([receive(empty, group[0], ID_TAG)])
        member = self.binding.join(size, unique.tobytes(), me, self.queue.gpu)
        self.members[group] = member
        yield from waited(member)

    def places(self, group: tuple[int, ...], mine: Place) -> Any:
        """Return where the data of all ranks of the group lies, in their order."""
        told = np.array(mine, np.int64)
        heard = np.tile(told, (len(group), 1))
        requests = []
        for i, rank in enumerate(group):
            if rank != self.rank:
                requests.append(self.point.irecv(heard[i], rank, ID_TAG))
                requests.append(self.point.isend(told, rank, ID_TAG))
        yield from done(requests)
        return [Place(*row) for row in heard.tolist()]

    def launch(
        self, member: Member, call: GroupCall, data: Any, dtype: DType, op: str
    ) -> None:
        """Give a group call to NCCL."""
        kind, group, _, root = call
        at, stream, count = data.data.ptr, self.stream.ptr, data.size
        type_, op_ = TYPES[dtype.name], OPS[op]
        if kind == "allreduce":
            member.allreduce(at, count, type_, op_, stream)
            return
        if kind == "reduce":
            member.reduce(at, count, type_, op_, group.index(root), stream)
            return
        if kind == "broadcast":
            member.broadcast(at, count, type_, group.index(root), stream)
            return
        pieces = Chunk(0, count).split(len(group))
        starts = [at + piece.start * dtype.itemsize for piece in pieces]
        mine, each = starts[group.index(self.rank)], pieces[0].size
        if each * len(group) > count:
            self.launch_pieces(member, kind, starts, pieces, type_, op_)
        elif kind == "reduce_scatter":
            member.reduce_scatter(at, mine, each, type_, op_, stream)
        else:
            member.allgather(mine, at, each, type_, stream)

    def launch_pieces(
        self,
        member: Member,
        kind: str,
        starts: Sequence[int],
        pieces: Sequence[Chunk],
        type_: int,
        op: int,
    ) -> None:
        """Give a group call to NCCL whose pieces are not of one length."""
        with self.binding.group():
            for i, (start, piece) in enumerate(zip(starts, pieces, strict=True)):
                if not piece.size:
                    continue
                if kind == "reduce_scatter":
                    stream = self.stream.ptr
                    member.reduce(start, piece.size, type_, op, i, stream)
                else:
                    member.broadcast(start, piece.size, type_, i, self.stream.ptr)

    def abort(self) -> None:
        """Give up what is under way: a peer does not come any more.

        NCCL may wait for peers even then: it is left alone after ``ABORT_S`` seconds.
        """
        self.aborted = True
        members, threads = list(self.members.values()), []
        for member in members:
            thread = threading.Thread(target=aborted, args=(member,), daemon=True)
            thread.start()
            threads.append(thread)
        end = time.monotonic() + ABORT_S
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            log.warning("rank %d: NCCL has not given up: kill the process", self.rank)
        self.members.clear()

    def close(self) -> None:
        """Destroy the communicators."""
        self.memory.close()
        for member in self.members.values():
            member.destroy()
        self.members.clear()


def done(requests: list[Any]) -> Iterator[None]:
    """Wait for messages."""
    while requests := [request for request in requests if not request.Test()]:
        yield


def waited(member: Member) -> Iterator[None]:
    """Wait until NCCL has done what it was asked for, as far as the host does it."""
    while not member.ready():
        yield


def aborted(member: Member) -> None:
    """Abort; what NCCL says to that is of interest to nobody but the log."""
    try:
        member.abort()
    except RuntimeError as error:
        log.warning("ncclCommAbort: %s", error)
