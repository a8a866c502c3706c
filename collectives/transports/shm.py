"""Shared memory: the group calls of a node, through one MPI-3 shared window.

Every rank owns one piece of the buffer; it combines what all ranks of the node have
there, in rank order and in blocks that stay in the cache.

    few bytes     lie beside the cards of the board: everybody combines them all, after
                  one meeting
    registered    arrays are read and written where they are, in one pass: one meeting
                  before, one after
    other arrays  go through slots of the window, segment by segment
"""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from ..arrays import DType
from ..ops import Accumulator
from ..step import GroupCall
from ..topology import Topology
from . import few
from .board import PLACE, Board
from .few import FEW_BYTES, FEW_HALVES, Few
from .slots import COMBINING, RING_BYTES, Job, Passage, Rings
from .window import Memory, room

NEEDED = few.NEEDED + RING_BYTES
VIEWS = 64  # sets of registered arrays that a job remembers


class Shared:
    """The engine of one node; ``group`` are its ranks in the communicator."""

    kinds = ("allreduce", "reduce_scatter", "allgather", "reduce", "broadcast")

    def __init__(
        self, node: MPI.Intracomm, group: tuple[int, ...], crowded: bool
    ) -> None:
        """Allocate board and slots; all ranks of ``node`` call this together."""
        self.node, self.group, self.me, self.size = node, group, node.rank, node.size
        self.memory = Memory(node)
        _, base = self.memory.allocate(NEEDED)
        self.board = Board(node, base.parts, base.window.Sync, crowded)
        self.rings = Rings([part[few.NEEDED : NEEDED] for part in base.parts])
        node.Barrier()

    def close(self) -> None:
        """Free the window; all ranks of the node call this together.

        Registered arrays that are still in use stay valid.
        """
        self.board.close()
        self.rings = Rings([])
        self.memory.free.add(1)
        self.memory.close()
        self.node.Free()

    @property
    def ticks(self) -> int:
        """How far the calls are; grows."""
        return self.board.ticks

    def few(self, count: int, dtype: DType, combine: Accumulator) -> Few | None:
        """Prepare an allreduce of few bytes; None if they are too many."""
        most = FEW_HALVES if combine.half else FEW_BYTES
        if count * dtype.itemsize > most:
            return None
        return Few(self.board, count, dtype.storage, combine)

    def job(
        self, kind: str, count: int, dtype: DType, combine: Accumulator, root: int = 0
    ) -> Job:
        """Prepare a group call on ``count`` elements; ``root`` counts in the node."""
        return Job(kind, count, dtype, combine, self.size, root)

    def start(self, call: GroupCall, data: np.ndarray, dtype: DType, op: str) -> Any:
        """Begin a group call on ``data``, this rank's elements of its chunk."""
        root = self.me if call.root is None else call.group.index(call.root)
        job = self.job(call.kind, data.size, dtype, Accumulator(op, dtype), root)
        return Pending(self.carry_out(job, data))

    def carry_out(self, job: Job, data: np.ndarray) -> Iterator[int]:
        """See where everybody's array lies, and take the better way."""
        board = self.board
        board.mine[PLACE] = self.memory.place(data)
        board.mine[PLACE + 1] = self.rings.choose(job.kind, data.nbytes)
        board.end_tick()
        yield from board.ticked()
        places, way = tuple([w[PLACE] for w in board.words]), board.words[0][PLACE + 1]
        yield from self.perform(job, data, data, places, places, way)

    def perform(
        self,
        job: Job,
        x: np.ndarray,
        out: np.ndarray,
        places: Sequence[int],
        goals: Sequence[int],
        way: int,
    ) -> Iterator[int]:
        """Carry out a group call from ``x`` to ``out``, whose places all ranks know."""
        if not (all(places) and all(goals)):
            return self.slotted(job, x, out, way)
        views = job.views.get((places, goals))
        if views is None:
            if len(job.views) >= VIEWS:
                job.views.clear()
            views = self.views(job, x, places, goals)
            job.views[places, goals] = views
        self.board.quiet(*views)
        self.board.end_tick()
        return self.board.ticked()

    def views(
        self, job: Job, x: np.ndarray, places: Sequence[int], goals: Sequence[int]
    ) -> tuple[Any, ...]:
        """Return the work on registered arrays: a function, sources, and targets.

        It is this rank's piece, for all who want it.
        """
        piece, at, ranks = slice(*job.pieces[self.me]), self.memory.at, range(self.size)
        parts = [at(rank, places[rank], x)[piece] for rank in ranks]
        targets = [at(rank, goals[rank], x)[piece] for rank in ranks]
        if job.kind in COMBINING:
            wanting = {"reduce_scatter": [self.me], "reduce": [job.root]}.get(job.kind)
            if wanting is None:  # its own first: it stays in this core's cache
                wanting = [self.me, *(r for r in ranks if r != self.me)]
            return job.combine, parts, [targets[rank] for rank in wanting]
        source = parts[self.me if job.kind == "allgather" else job.root]
        others = [y for y in targets if y.ctypes.data != source.ctypes.data]
        return copy, source, others

    def slotted(
        self, job: Job, x: np.ndarray, out: np.ndarray, way: int
    ) -> Iterator[int]:
        """Go through the slots of a ring, a tick after the other."""
        board, begin = self.board, time.perf_counter()
        passage = Passage(self.rings, way, self.me, job, x, out)
        for t in range(passage.segments + 2):
            yield from board.ticked()
            board.quiet(passage.tick, t)
            board.end_tick()
        self.rings.note(job.kind, x.nbytes, way, time.perf_counter() - begin)


def copy(source: np.ndarray, targets: list[np.ndarray]) -> None:
    """Copy to all ``targets``."""
    for y in targets:
        y[...] = source


def share(mpi: Any, topology: Topology) -> Any:
    """Return the shared-memory engine of this rank's node; None if it has none.

    All ranks have one, or none has: their schedules must agree on group calls.
    """
    group = topology.node(mpi.rank)
    alone = all(len(node) == 1 for node in topology.nodes)
    node = mpi.Split(topology.node_of[mpi.rank], group.index(mpi.rank))
    host = node.Split_type(MPI.COMM_TYPE_SHARED)
    together = host.size == node.size
    host.Free()
    if mpi.allreduce(not alone and together and room(node, NEEDED), MPI.LAND):
        cores = set[int]().union(*node.allgather(os.sched_getaffinity(0)))
        crowded = node.size > len(cores)
        return Shared(node, group, crowded)
    node.Free()
    return None


class Pending:
    """A group call under way; ``Test()`` carries it on until it has to wait."""

    def __init__(self, steps: Iterator[int]) -> None:
        """Begin with the first ``Test()``."""
        self.steps = steps

    def Test(self) -> bool:  # noqa: N802, as of an MPI request
        """Do what can be done; say whether the call has ended."""
        for _ in self.steps:
            return False
        return True
