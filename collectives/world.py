"""World: run the schedules of all ranks in one process, under rendezvous rules.

No message is buffered: a send completes only together with its receive, and every rank
does one step at a time.  What runs here without deadlock runs on any MPI, whatever it
buffers.  An `Interpreter` says what a step means: here arrays are summed, in
`collectives.verify` sums are proved, in `collectives.simulate` time passes.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import chain
from traceback import extract_tb
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from . import algorithms
from .chunk import Chunk
from .errors import (
    CollectiveError,
    Deadlock,
    InvalidArgument,
    ShapeMismatch,
    WrongResult,
)
from .lowering import lower
from .step import KINDS, ROOTED, Exchange, GroupCall, Schedule, Step, moving
from .topology import Topology

Array = npt.NDArray[Any]


class Interpreter(Protocol):
    """What steps do."""

    def transfer(self, src: int, dst: int, step: Exchange) -> None:
        """Freeze what ``src`` sends: a message to ``dst``, which is in ``step``."""

    def finish(self, rank: int, step: Exchange) -> None:
        """Apply what ``rank`` received: both halves of its step have been matched."""

    def group_call(self, call: GroupCall) -> None:
        """Carry out a group call: all its members have come to it."""


def schedules(
    name: str,
    topology: Topology,
    count: int,
    *,
    operation: str = "schedule",
    root: int | None = None,
    lowered: bool = False,
) -> list[Schedule]:
    """Return one schedule for each rank; ``lowered``: with group calls as exchanges.

    Raises:
        InvalidArgument: no such algorithm, or a negative ``count``.
        WrongResult: later, by a schedule in which something else was raised.
    """
    if count < 0:
        raise InvalidArgument(f"{name}: {count} elements; expected 0 or more")
    make = getattr(algorithms.load(name), operation)
    extra = () if root is None else (root,)
    whole = Chunk(0, count)

    def of(rank: int) -> Schedule:
        try:
            for step in make(topology, rank, whole, *extra):
                yield from lower(step, rank) if lowered else (step,)
        except CollectiveError:
            raise
        except Exception as error:
            at = extract_tb(error.__traceback__)[-1]
            raise WrongResult(
                f"rank {rank}: {type(error).__name__}: {error} ({at.filename}, line "
                f"{at.lineno})"
            ) from error

    return [moving(of(rank)) for rank in range(topology.size)]


def cuts(schedules: Iterable[Schedule]) -> dict[int, int]:
    """Return the ends of all chunks, numbered upward; uses the schedules up."""
    ends: set[int] = set()
    for step in chain.from_iterable(schedules):
        if isinstance(step, Exchange):
            ends.update(step.send)
            ends.update(step.recv)
        else:
            ends.update(*step.chunk.split(len(step.group)))
    return {end: i for i, end in enumerate(sorted(ends))}


def run(schedules: Sequence[Schedule], interpreter: Interpreter) -> None:
    """Run all schedules to their ends.

    Raises:
        Deadlock: some ranks wait for each other for ever.
        WrongResult: the two sides of a message name different elements, or a step
            names ranks, or a collective, that do not exist.
    """
    size = len(schedules)
    current: list[Step | None] = [None] * size
    sent, received = [True] * size, [True] * size
    present: defaultdict[GroupCall, set[int]] = defaultdict(set)
    ready = deque(range(size))

    def match(src: int, dst: int) -> None:
        a, b = current[src], current[dst]
        if (
            sent[src]
            or received[dst]
            or not (isinstance(a, Exchange) and isinstance(b, Exchange))
        ):
            return
        if a.dst == dst and b.src == src:
            if a.send != b.recv:
                raise WrongResult(
                    f"rank {src} sends {a.send} to rank {dst}, which expects {b.recv}"
                )
            interpreter.transfer(src, dst, b)
            sent[src] = received[dst] = True

    while ready:
        rank = ready.popleft()
        step = current[rank] = next(schedules[rank], None)
        if step is not None:
            check(step, rank, size)
        if isinstance(step, GroupCall):
            present[step].add(rank)
            if len(present[step]) == len(step.group):
                del present[step]
                interpreter.group_call(step)
                ready.extend(step.group)
        elif step is not None:
            sent[rank], received[rank] = step.dst is None, step.src is None
            if step.dst is not None:
                match(rank, step.dst)
            if step.src is not None:
                match(step.src, rank)
            for peer in {rank} | {p for p in (step.dst, step.src) if p is not None}:
                theirs = current[peer]
                if isinstance(theirs, Exchange) and sent[peer] and received[peer]:
                    current[peer] = None
                    interpreter.finish(peer, theirs)
                    ready.append(peer)
    stuck = [(rank, step) for rank, step in enumerate(current) if step is not None]
    if stuck:
        lines = [f"rank {rank} waits in {step}" for rank, step in stuck[:8]]
        raise Deadlock(
            f"{len(stuck)} of {size} ranks wait for ever without buffering:\n  "
            + "\n  ".join(lines)
        )


def check(step: Step, rank: int, size: int) -> None:
    """Check that a step names ranks that exist, and a collective that does.

    Raises:
        WrongResult: it does not.
    """
    if isinstance(step, GroupCall):
        members = set(step.group)
        good = (
            step.kind in KINDS
            and len(members) == len(step.group)
            and rank in members
            and members <= set(range(size))
            and (step.root in members if step.kind in ROOTED else step.root is None)
        )
    else:
        good = (step.dst is None or 0 <= step.dst < size) and (
            step.src is None or 0 <= step.src < size
        )
    if not good:
        raise WrongResult(
            f"rank {rank} of {size} has the impossible step {step}; expected ranks 0 "
            f".. {size - 1}; in a group call {rank} among them, each once, one of "
            f"{', '.join(KINDS)}, and a root for {' and '.join(ROOTED)} only"
        )


class Arrays:
    """The interpreter that sums NumPy arrays, one flat array for each rank."""

    def __init__(
        self, buffers: Sequence[Array], combine: Callable[..., Array] = np.add
    ) -> None:
        """Work in place on ``buffers``, combining with a NumPy ufunc."""
        self.buffers = buffers
        self.combine = combine
        self.arriving: dict[int, Array] = {}

    def transfer(self, src: int, dst: int, step: Exchange) -> None:
        """Freeze what is sent."""
        self.arriving[dst] = self.buffers[src][slice(*step.recv)].copy()

    def finish(self, rank: int, step: Exchange) -> None:
        """Add or copy what arrived."""
        if step.src is not None:
            target, data = self.buffers[rank][slice(*step.recv)], self.arriving[rank]
            if step.reduce:
                self.combine(target, data, out=target)
            else:
                target[:] = data

    def group_call(self, call: GroupCall) -> None:
        """Do the collective on the slices of all members."""
        views = [self.buffers[rank][slice(*call.chunk)] for rank in call.group]
        cuts = Chunk(0, call.chunk.size).split(len(call.group))
        if call.kind == "broadcast":
            total = views[call.group.index(call.root)].copy()
        elif call.kind == "allgather":
            total = np.concatenate(
                [v[slice(*c)] for v, c in zip(views, cuts, strict=True)]
            )
        else:
            total = reduce(self.combine, views).astype(views[0].dtype)
        for rank, view, piece in zip(call.group, views, cuts, strict=True):
            if call.kind == "reduce_scatter":
                view[slice(*piece)] = total[slice(*piece)]
            elif call.kind != "reduce" or rank == call.root:
                view[:] = total


def allreduce(
    name: str,
    topology: Topology,
    inputs: Sequence[Array],
    *,
    combine: Callable[..., Array] = np.add,
    lowered: bool = False,
) -> list[Array]:
    """Sum flat arrays, one a rank, by the named algorithm; return one array a rank.

    Raises:
        ShapeMismatch: not one flat array a rank, all of one size and dtype.
    """
    buffers = [np.array(data) for data in inputs]
    kinds = {(buffer.shape, str(buffer.dtype)) for buffer in buffers}
    if len(buffers) != topology.size or len(kinds) != 1 or buffers[0].ndim != 1:
        raise ShapeMismatch(
            f"{name} on {topology.size} ranks: got {len(buffers)} arrays of "
            f"{sorted(kinds)}; expected one flat array a rank, of one size and dtype"
        )
    plans = schedules(name, topology, buffers[0].size, lowered=lowered)
    run(plans, Arrays(buffers, combine))
    return buffers
