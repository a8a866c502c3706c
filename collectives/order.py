"""Order: which earlier steps a step has to wait for."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from .chunk import Chunk
from .step import NOTHING, Exchange, Schedule, Step, read, written


class Waits(NamedTuple):
    """Earlier steps, by place in the program, that must have ended."""

    to_read: tuple[int, ...]  # before what is sent may be read
    to_write: tuple[int, ...]  # before what is received may be written


def waits(steps: Sequence[Step]) -> list[Waits]:
    """Return for each step the last writers of what it reads, and what it overwrites.

    Steps that wait for each other through a third one are not listed: a step that has
    ended implies all that it waited for.
    """
    ends = {end for step in steps for end in (*read(step), *written(step))}
    atoms = {end: i for i, end in enumerate(sorted(ends))}
    writer: list[int | None] = [None] * len(atoms)
    readers: list[list[int]] = [[] for _ in atoms]
    found = []
    for i, step in enumerate(steps):
        reads = range(*(atoms[end] for end in read(step)))
        writes = range(*(atoms[end] for end in written(step)))
        before_reading = {writer[atom] for atom in reads} - {None}
        before_writing = {writer[atom] for atom in writes} - {None}
        for atom in writes:
            before_writing.update(readers[atom])
        found.append(Waits(ordered(before_reading), ordered(before_writing)))
        for atom in reads:
            readers[atom].append(i)
        for atom in writes:
            writer[atom], readers[atom] = i, []
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
    """Cut into parts of ``most`` elements and a rest."""
    return [
        Chunk(start, min(start + most, chunk.stop))
        for start in range(chunk.start, chunk.stop, most)
    ]
