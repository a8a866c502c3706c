"""Few: an allreduce of few bytes, which lie on the cards of the board or beside them.

They are there when the card is: after one meeting every rank combines them all, in rank
order, into its own output.
"""

import numpy as np

from ..ops import Accumulator
from .board import BOARD_BYTES, CARD, CARDS, LINE, REST, Board

FEW_BYTES = 1 << 16  # at most
FEW_HALVES = 1 << 12  # bytes of half types, at most: NumPy is slow to convert them
PLACES = 32  # beside: a line in another core's cache is slow to write
STRIDE = FEW_BYTES + 3 * LINE  # multiples of a power of two share cache sets
NEEDED = BOARD_BYTES + PLACES * STRIDE  # bytes a rank


class Few:
    """Calls of one kind, on ``count`` elements of ``storage``."""

    def __init__(
        self, board: Board, count: int, storage: np.dtype, combine: Accumulator
    ) -> None:
        """Find room."""
        self.me, self.quiet, self.accumulator = board.me, board.quiet, combine
        self.ufunc, self.factor = combine.ufunc, combine.factor
        nbytes = count * storage.itemsize
        places = [BOARD_BYTES + place * STRIDE for place in range(PLACES)]
        if nbytes <= (CARD - REST) * 8:
            places = [(at + REST) * 8 for at in CARDS]
        self.data = [
            [part[start : start + nbytes].view(storage) for part in board.parts]
            for start in places
        ]
        self.places = len(places)

    def show(self, number: int, x: np.ndarray) -> None:
        """Lay flat ``x`` down, before the card of the operation is posted."""
        self.data[number % self.places][self.me][...] = x

    def combine(self, number: int, out: np.ndarray) -> None:
        """Combine what all have shown, when all have."""
        ufunc, quiet = self.ufunc, self.quiet
        shown = self.data[number % self.places]
        if self.accumulator.half:  # by NumPy: torch may be loaded on some ranks only
            quiet(self.accumulator.widened, shown, [out])
            return
        quiet(ufunc, shown[0], shown[1], out=out)
        for x in shown[2:]:
            quiet(ufunc, out, x, out=out)
        if self.factor is not None:
            quiet(np.multiply, out, self.factor, out=out)
