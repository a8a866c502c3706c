"""Few: an allreduce of few bytes, which lie on the cards of the board or beside them.

They are there when the card is: after one meeting every rank combines them all, in rank
order, into its own output.
"""

import numpy as np

from ..ops import Accumulator
from .board import BOARD_BYTES, CARD, CARDS, CODE, LINE, NUMBER, REST, Board

FEW_BYTES = 1 << 16  # at most
PLACES = 32  # beside: a line in another core's cache is slow to write
STRIDE = FEW_BYTES + 3 * LINE  # multiples of a power of two share cache sets
NEEDED = BOARD_BYTES + PLACES * STRIDE  # bytes a rank
POLLS = 100  # of those who are about to come


class Few:
    """Calls of one kind, on ``count`` elements of ``storage``."""

    def __init__(
        self,
        board: Board,
        code: int,
        count: int,
        storage: np.dtype,
        combine: Accumulator,
    ) -> None:
        """Find room; ``combine`` is not of a half type."""
        self.board, self.code, self.me = board, code, board.me
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
        self.polls = 0 if board.crowded else POLLS

    def show(self, number: int, x: np.ndarray) -> None:
        """Lay flat ``x`` down, and post the card of an operation."""
        self.data[number % self.places][self.me][...] = x
        self.board.post(number, self.code)

    def finish(self, number: int, out: np.ndarray) -> bool:
        """Combine if the others show the same card, at once or almost; say whether."""
        board, polls, at, code = self.board, self.polls, CARDS[number & 1], self.code
        for word in board.others:
            while word[at + NUMBER] < number:
                polls -= 1
                if polls < 0:
                    return False
            if word[at + CODE] != code:
                return False
        board.sync()
        self.combine(number, out)
        return True

    def combine(self, number: int, out: np.ndarray) -> None:
        """Combine what all have shown, when all have."""
        ufunc, quiet = self.ufunc, self.board.quiet
        shown = self.data[number % self.places]
        quiet(ufunc, shown[0], shown[1], out=out)
        for x in shown[2:]:
            quiet(ufunc, out, x, out=out)
        if self.factor is not None:
            quiet(np.multiply, out, self.factor, out=out)
