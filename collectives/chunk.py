"""Chunk: the range of elements that a step moves."""

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

    def pieces(self, start: int, stop: int, n: int) -> "Chunk":
        """Return what pieces ``start`` to ``stop - 1`` of ``split(n)`` cover together.

        >>> Chunk(0, 7).pieces(1, 3, 3)
        Chunk(start=3, stop=7)
        """
        quotient, rest = divmod(self.stop - self.start, n)
        return Chunk(
            self.start + start * quotient + min(start, rest),
            self.start + stop * quotient + min(stop, rest),
        )

    def overlaps(self, other: "Chunk") -> bool:
        """Whether the two have an element in common.

        >>> Chunk(0, 3).overlaps(Chunk(2, 4)), Chunk(0, 3).overlaps(Chunk(3, 4))
        (True, False)
        """
        return max(self.start, other.start) < min(self.stop, other.stop)
