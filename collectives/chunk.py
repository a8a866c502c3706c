"""Chunk: the range of elements that a step moves."""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple


class Chunk(NamedTuple):
    """A half-open range of elements, ``[start, stop)``."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of elements.

        >>> Chunk(3, 7).size
        4
        """
        return self.stop - self.start

    def split(self, n: int) -> list["Chunk"]:
        """Cut into ``n >= 1`` adjacent parts, longest first, lengths within one.

        >>> Chunk(0, 7).split(3)
        [Chunk(start=0, stop=3), Chunk(start=3, stop=5), Chunk(start=5, stop=7)]
        """
        quotient, rest = divmod(self.stop - self.start, n)
        ends = [self.start + i * quotient + min(i, rest) for i in range(n + 1)]
        return [Chunk(start, stop) for start, stop in pairwise(ends)]

    def overlaps(self, other: "Chunk") -> bool:
        """Whether the two have an element in common.

        >>> Chunk(0, 3).overlaps(Chunk(2, 4)), Chunk(0, 3).overlaps(Chunk(3, 4))
        (True, False)
        """
        return max(self.start, other.start) < min(self.stop, other.stop)


def span(pieces: Iterable[Chunk]) -> Chunk:
    """Return the range that adjacent pieces cover together, given in order.

    >>> span([Chunk(0, 3), Chunk(3, 5)])
    Chunk(start=0, stop=5)
    """
    pieces = list(pieces)
    return Chunk(pieces[0].start, pieces[-1].stop)
