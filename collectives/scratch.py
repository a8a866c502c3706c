"""Scratch: memory for messages on their way, kept from one execution to the next."""

from collections.abc import Callable
from typing import Any

import numpy as np


class Scratch:
    """Boxes of one communicator, whose executions run one after the other.

    A box is as large as the largest that was asked for in its place.
    """

    def __init__(self, empty: Callable[..., Any] = np.empty) -> None:
        """Begin with nothing; ``empty(nbytes, dtype)`` allocates."""
        self.empty = empty
        self.kept: dict[tuple[str, int], Any] = {}

    def box(self, use: str, place: int, count: int, storage: np.dtype) -> Any:
        """Return ``count`` elements, the same memory for the same use and place."""
        nbytes = count * storage.itemsize
        box = self.kept.get((use, place))
        if box is None or box.nbytes < nbytes:
            box = self.kept[use, place] = self.empty(nbytes, np.uint8)
        return box[:nbytes].view(storage)
