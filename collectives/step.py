"""Steps: what an algorithm is made of.

A schedule is an iterator of steps, one iterator for each rank.  Steps take effect
in program order; a step may run early or late as long as no step it overlaps in
chunk is overtaken.  What a step sends is frozen when it starts, what it receives is
applied when it ends.  The k-th message from a to b in program order carries tag k,
so that several steps may be in flight and both sides still agree.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from .chunk import Chunk


class Exchange(NamedTuple):
    """Send one chunk to ``dst`` while receiving one from ``src``; either may be None.

    A chunk is the same range of elements on both sides.  What arrives replaces the
    elements, or with ``reduce`` is combined with them.
    """

    dst: int | None
    send: Chunk
    src: int | None
    recv: Chunk
    reduce: bool = False


class GroupCall(NamedTuple):
    """A collective on ``chunk`` that the fastest engine of ``group`` carries out.

    ``kind``            ``group[i]`` holds afterwards
    ``reduce_scatter``  piece ``i`` of ``chunk.split(len(group))``, combined
    ``allgather``       all pieces, of which it had piece ``i``
    ``reduce``          the combined chunk if it is ``root``, else anything
    ``broadcast``       ``root``'s chunk
    ``allreduce``       the combined chunk
    """

    kind: str
    group: tuple[int, ...]
    chunk: Chunk
    root: int | None = None


KINDS = ("reduce_scatter", "allgather", "reduce", "broadcast", "allreduce")
ROOTED = ("reduce", "broadcast")

Step: TypeAlias = Exchange | GroupCall
Schedule: TypeAlias = Iterator[Step]

NOTHING = Chunk(0, 0)


def send(dst: int, chunk: Chunk) -> Exchange:
    """Make the step that only sends."""
    return Exchange(dst, chunk, None, NOTHING)


def receive(src: int, chunk: Chunk, *, reduce: bool = False) -> Exchange:
    """Make the step that only receives."""
    return Exchange(None, NOTHING, src, chunk, reduce)


def moving(schedule: Iterable[Step]) -> Schedule:
    """Drop what moves no element: the one rule for empty chunks, the same on all ranks.

    A chunk is the same range on both sides, so a message is dropped by its sender and
    by its receiver, or by neither.
    """
    for step in schedule:
        if isinstance(step, GroupCall):
            if step.chunk.size and len(step.group) > 1:
                yield step
            continue
        dst = step.dst if step.send.size else None
        src = step.src if step.recv.size else None
        if dst is None and src is None:
            continue
        unchanged = dst == step.dst and src == step.src
        yield step if unchanged else step._replace(dst=dst, src=src)


def read(step: Step) -> Chunk:
    """Return the elements that the step reads when it starts."""
    if isinstance(step, GroupCall):
        return step.chunk
    return step.send if step.dst is not None else NOTHING


def written(step: Step) -> Chunk:
    """Return the elements that the step changes when it ends."""
    if isinstance(step, GroupCall):
        return step.chunk
    return step.recv if step.src is not None else NOTHING
