"""Shared memory: the group calls of a node, through one MPI-3 shared window.

Every rank owns one piece of the buffer; it combines what all ranks of the node have
there, in rank order and in blocks that stay in the cache.  Registered arrays lie in
shared memory, so it reads and writes the other ranks' buffers directly: one pass, no
copies.  Other arrays go through three slots of the window, segment by segment:

    slot   0: fill 0   combine 0   copy out 0   fill 3 ...
           1:          fill 1      combine 1    copy out 1 ...
           2:                      fill 2       combine 2 ...

with one synchronisation between two columns.  Ranks tell each other how far they are in
one word each; the window's memory is that of the whole node, coherent on any host.
"""

import logging
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from ..arrays import DType
from ..chunk import Chunk
from ..ops import accumulate
from ..step import GroupCall

log = logging.getLogger("collectives")

SLOTS = 3
SLOT_BYTES = 1 << 20  # of each slot of each rank: all ranks' slots fit a shared cache
BOARD_BYTES = 128  # two cache lines: how far, and where the array lies
LINE = 64
PROGRESS = 64  # MPI is called once in so many polls

KEPT: list["Region"] = []  # registered memory of closed communicators

COMBINING = ("allreduce", "reduce_scatter", "reduce")


class Pending:
    """A group call under way; ``Test()`` carries it on until it has to wait."""

    def __init__(self, steps: Iterator[None]) -> None:
        """Begin with the first ``Test()``."""
        self.steps = steps

    def Test(self) -> bool:  # noqa: N802, as of an MPI request
        """Do what can be done; say whether the call has ended."""
        for _ in self.steps:
            return False
        return True


class Region(NamedTuple):
    """Registered memory: a window, and everybody's part of it as bytes."""

    window: MPI.Win
    parts: list[np.ndarray]


class Shared:
    """The engine of one node; ``group`` are its ranks in the communicator."""

    kinds = ("allreduce", "reduce_scatter", "allgather", "reduce", "broadcast")

    def __init__(self, node: MPI.Intracomm, group: tuple[int, ...]) -> None:
        """Allocate board and slots; all ranks of ``node`` call this together."""
        self.node, self.group, self.me = node, group, node.rank
        self.regions: list[Region] = []
        base = self.allocate(BOARD_BYTES + SLOTS * SLOT_BYTES)
        self.boards = [part[:BOARD_BYTES].view(np.int64) for part in base.parts]
        self.slots = [part[BOARD_BYTES:] for part in base.parts]
        self.words = [board.data for board in self.boards]
        self.phase = 0
        self.boards[self.me][:] = 0
        node.Barrier()

    def allocate(self, nbytes: int) -> Region:
        """Add memory that all ranks of the node see, ``nbytes`` for each."""
        window = MPI.Win.Allocate_shared(nbytes, 1, comm=self.node)
        parts = []
        for rank in range(self.node.size):
            memory, _ = window.Shared_query(rank)
            parts.append(np.asarray(memory, np.uint8)[:nbytes])
        window.Lock_all()
        self.regions.append(Region(window, parts))
        return self.regions[-1]

    def fits(self, nbytes: int) -> bool:
        """Say, alike on all ranks of the node, whether `allocate` may be called.

        More than there is can be allocated, but using it ends the process.
        """
        mine = nbytes > 0 and room(self.node, nbytes)
        return bool(self.node.allreduce(mine, MPI.MIN))

    def close(self) -> None:
        """Free board and slots; all ranks of the node call this together.

        Registered arrays stay valid: the caller may still hold them.
        """
        self.words, self.boards, self.slots = [], [], []
        base = self.regions.pop(0)
        base.parts.clear()
        base.window.Unlock_all()
        base.window.Free()
        KEPT.extend(self.regions)
        self.node.Free()

    def start(self, call: GroupCall, data: np.ndarray, dtype: DType, op: str) -> Any:
        """Begin a group call on ``data``, this rank's elements of its chunk."""
        root = self.me if call.root is None else call.group.index(call.root)
        return Pending(self.carry_out(call.kind, root, data, dtype, op))

    def carry_out(
        self, kind: str, root: int, data: np.ndarray, dtype: DType, op: str
    ) -> Iterator[None]:
        """Meet, see where everybody's array lies, and take the better way."""
        self.words[self.me][1], self.words[self.me][2] = self.locate(data)
        yield from self.meet()
        places = [(int(word[1]), int(word[2])) for word in self.words]
        if all(region for region, _ in places):
            peers = [
                self.regions[region].parts[rank][offset : offset + data.nbytes]
                for rank, (region, offset) in enumerate(places)
            ]
            arrays = [peer.view(data.dtype) for peer in peers]
            self.direct(kind, root, arrays, dtype, op)
            yield from self.meet()
        else:
            yield from self.slotted(kind, root, data, dtype, op)

    def locate(self, data: np.ndarray) -> tuple[int, int]:
        """Return region and offset of an array; region 0 if it is not registered."""
        address = data.ctypes.data
        for index in range(1, len(self.regions)):
            part = self.regions[index].parts[self.me]
            offset = address - part.ctypes.data
            if 0 <= offset and offset + data.nbytes <= part.size:
                return index, offset
        return 0, 0

    def meet(self) -> Iterator[None]:
        """Wait until all ranks of the node have come as far as this one."""
        self.phase = phase = self.phase + 1
        window, words = self.regions[0].window, self.words
        window.Sync()
        words[self.me][0] = phase
        polls = 0
        for word in words:
            while word[0] < phase:
                polls += 1
                if polls % PROGRESS == 0:  # a late rank may wait for MPI to move
                    self.node.Iprobe()
                yield
        window.Sync()

    def direct(
        self,
        kind: str,
        root: int,
        arrays: list[np.ndarray],
        dtype: DType,
        op: str,
    ) -> None:
        """Work on registered arrays: this rank's piece, for all who want it."""
        mine = slice(*Chunk(0, arrays[0].size).split(len(arrays))[self.me])
        parts = [array[mine] for array in arrays]
        if kind in COMBINING:
            wanting = {"reduce_scatter": [self.me], "reduce": [root]}.get(kind)
            targets = parts if wanting is None else [parts[rank] for rank in wanting]
            accumulate(op, dtype, parts, targets)
            return
        source = parts[self.me if kind == "allgather" else root]
        for part in parts:
            if part is not source:
                part[:] = source

    def slotted(
        self, kind: str, root: int, data: np.ndarray, dtype: DType, op: str
    ) -> Iterator[None]:
        """Work through the slots; segment j holds the j-th part of every piece."""
        ranks, me = range(self.node.size), self.me
        pieces = Chunk(0, data.size).split(len(ranks))
        room = SLOT_BYTES // len(ranks) // LINE * LINE  # for a part of each piece
        count = max(1, -(-pieces[0].size * data.itemsize // room))
        parts = [piece.split(count) for piece in pieces]
        fills = {"allgather": [me], "broadcast": ranks if me == root else []}
        takes = {"reduce_scatter": [], "broadcast": [] if me == root else ranks}
        takes["reduce"] = [rank for rank in ranks if rank != me and me == root]
        others = [rank for rank in ranks if rank != me]

        def view(owner: int, j: int, piece: int) -> np.ndarray:
            start = j % SLOTS * SLOT_BYTES + piece * room
            size = parts[piece][j].size * data.itemsize
            return self.slots[owner][start : start + size].view(data.dtype)

        def fill(j: int) -> None:
            for rank in fills.get(kind, others):
                view(me, j, rank)[:] = data[slice(*parts[rank][j])]

        def combine(j: int) -> None:
            own = data[slice(*parts[me][j])]
            sources = [own if rank == me else view(rank, j, me) for rank in ranks]
            published = [] if kind == "reduce_scatter" else [view(me, j, me)]
            accumulate(op, dtype, sources, [own, *published])

        def take(j: int) -> None:
            for rank in takes.get(kind, others):
                owner = root if kind == "broadcast" else rank
                data[slice(*parts[rank][j])] = view(owner, j, rank)

        fill(0)
        for j in range(count + 1):
            yield from self.meet()
            if j > 0:
                take(j - 1)
            if j < count and kind in COMBINING:
                combine(j)
            if j + 1 < count:
                fill(j + 1)
        # The slots are filled again in the next call, which begins with a meeting.


def room(node: MPI.Intracomm, nbytes: int = BOARD_BYTES + SLOTS * SLOT_BYTES) -> bool:
    """Say whether ``/dev/shm`` has room for ``nbytes`` of every rank of a node."""
    try:
        state = os.statvfs("/dev/shm")
    except OSError:
        return False
    free = state.f_bavail * state.f_frsize
    if nbytes * node.size > free:
        log.warning(
            "shared memory: %d ranks want %d bytes each, /dev/shm has %d free; "
            "going on without (enlarge it: mount -o remount,size=... /dev/shm)",
            node.size,
            nbytes,
            free,
        )
    return nbytes * node.size <= free
