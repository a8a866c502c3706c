"""Choice: an algorithm, and how to run it."""

import re
from typing import NamedTuple

from . import algorithms
from .errors import InvalidArgument

FORM = re.compile(r"(\w+)(?: segment=([1-9]\d*))?(?: depth=([1-9]\d*))?")


class Choice(NamedTuple):
    """The name of an algorithm; what is None the plan decides.

    Written ``ring``, ``ring depth=8`` or ``ring segment=131072 depth=8``, in tables and
    as the argument ``algorithm``.
    """

    algorithm: str
    segment: int | None = None  # bytes of a message at most
    depth: int | None = None  # steps in flight

    @classmethod
    def parse(cls, text: str) -> "Choice":
        """Read what ``str`` writes.

        >>> Choice.parse("ring depth=8")
        Choice(algorithm='ring', segment=None, depth=8)

        Raises:
            InvalidArgument: no such algorithm, or not of this form.
        """
        match = FORM.fullmatch(text)
        if match is None:
            raise InvalidArgument(
                f"algorithm {text!r}: expected a name, or a name with bytes of a "
                "message and steps in flight like 'ring segment=131072 depth=8'; "
                f"names are {', '.join(algorithms.names())}"
            )
        algorithms.load(match[1])
        segment, depth = (int(n) if n else None for n in (match[2], match[3]))
        return cls(match[1], segment, depth)

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        segment = "" if self.segment is None else f" segment={self.segment}"
        depth = "" if self.depth is None else f" depth={self.depth}"
        return f"{self.algorithm}{segment}{depth}"
