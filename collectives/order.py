"""Order: which earlier steps a step waits for, and what it finds untouched."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from .chunk import Chunk
from .step import NOTHING, Exchange, GroupCall, Schedule, Step, read, written


class Waits(NamedTuple):
    """Earlier steps, by place in the program, that a step waits for."""

    to_read: tuple[int, ...]  # have written what it sends
    to_write: tuple[int, ...]  # have written what it overwrites
    to_free: tuple[int, ...]  # have sent what it overwrites


def waits(steps: Sequence[Step]) -> list[Waits]:
    """Return for each step the last writers of its elements, and readers since then.

    Steps that wait for each other through a third one are not listed: a step that has
    written implies all that wrote and read the elements before.  Group calls wait for
    each other, so that all members of a group come to theirs in the same order.
    """
    atoms = atoms_of(steps)
    writer: list[int | None] = [None] * len(atoms)
    readers: list[list[int]] = [[] for _ in atoms]
    called: int | None = None
    found = []
    for i, step in enumerate(steps):
        reads = range(*(atoms[end] for end in read(step)))
        writes = range(*(atoms[end] for end in written(step)))
        before_reading = {writer[atom] for atom in reads}
        if isinstance(step, GroupCall):
            before_reading.add(called)
            called = i
        before_writing = {writer[atom] for atom in writes}
        freeing: set[int | None] = {
            reader for atom in writes for reader in readers[atom]
        }
        found.append(
            Waits(ordered(before_reading), ordered(before_writing), ordered(freeing))
        )
        for atom in reads:
            readers[atom].append(i)
        for atom in writes:
            writer[atom], readers[atom] = i, []
    return found


class Fresh(NamedTuple):
    """Whether no earlier step has written any of what a step sends, and combines."""

    send: bool
    recv: bool


def fresh(steps: Sequence[Step], whole: Chunk) -> tuple[list[Fresh], list[Chunk]]:
    """Say what steps can take from an input that lies elsewhere, and what they cannot.

    Returns, for each step, which of its chunks are as they were in the beginning; and
    what of ``whole`` must be copied before: elements that no step writes, that a group
    call finds, or that a step uses together with others that have been written.
    """
    atoms = atoms_of(steps, whole)
    copied: set[int] = set()
    while True:
        old, mixed = set(range(len(atoms) - 1)) - copied, set()
        found = []
        for step in steps:
            sides = []
            for chunk, used in ((read(step), True), (written(step), combines(step))):
                inside = set(range(*(atoms[end] for end in chunk)))
                unwritten = inside & old
                alike = unwritten == inside and not isinstance(step, GroupCall)
                sides.append(alike and used)
                if used and not alike:
                    mixed |= unwritten
            found.append(Fresh(*sides))
            old -= set(range(*(atoms[end] for end in written(step))))
        if not mixed:
            break
        copied |= mixed
    copied |= old
    edges = sorted(atoms)
    return found, joined(Chunk(edges[i], edges[i + 1]) for i in sorted(copied))


def combines(step: Step) -> bool:
    """Say whether what a step writes depends on what was there."""
    return isinstance(step, GroupCall) or step.reduce


def atoms_of(steps: Sequence[Step], *more: Chunk) -> dict[int, int]:
    """Return, for each end of a chunk, the number of the range that begins there.

    The chunk ``a, b`` covers the ranges ``atoms[a]`` to ``atoms[b] - 1``.
    """
    chunks = [chunk for step in steps for chunk in (read(step), written(step))]
    ends = {end for chunk in (*chunks, *more) for end in chunk}
    return {end: i for i, end in enumerate(sorted(ends))}


def joined(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Join chunks, in increasing order, that touch each other.

    >>> joined([Chunk(0, 2), Chunk(2, 3), Chunk(5, 6)])
    [Chunk(start=0, stop=3), Chunk(start=5, stop=6)]
    """
    found: list[Chunk] = []
    for start, stop in chunks:
        if found and found[-1].stop == start:
            start = found.pop().start
        found.append(Chunk(start, stop))
    return found


def ordered(steps: set[int | None]) -> tuple[int, ...]:
    """Return step numbers in increasing order."""
    return tuple(sorted(step for step in steps if step is not None))


def limited(schedule: Schedule, most: int) -> Schedule:
    """Cut exchanges of more than ``most`` elements into several, alike on both sides.

    What a step sends is the same range as what it receives, or another one altogether;
    so cutting it does not change what is sent.
    """
    for step in schedule:
        if isinstance(step, Exchange) and max(step.send.size, step.recv.size) > most:
            sends, receives = pieces(step.send, most), pieces(step.recv, most)
            for send, recv in zip_longest(sends, receives, fillvalue=NOTHING):
                yield step._replace(
                    dst=step.dst if send.size else None,
                    send=send,
                    src=step.src if recv.size else None,
                    recv=recv,
                )
        else:
            yield step


def pieces(chunk: Chunk, most: int) -> list[Chunk]:
    """Cut into as few parts of at most ``most`` elements as can be, all about equal."""
    return chunk.split(-(-chunk.size // most)) if chunk.size else []
