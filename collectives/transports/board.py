"""Board: words in shared memory by which the ranks of a node meet.

Every rank writes its own words and reads those of the others; words of different use
lie in different cache lines.  A *card* tells what a rank was asked to do; two of them
are used in turn, since nobody is more than one operation ahead.  Few bytes of data lie
beside the card: they are there when the card is.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

LINE = 64  # bytes that cores hand each other
POSTED, TICKS, PLACE, CARDS, CARD = 0, 8, 9, 16, 8  # words
CARD_AT = CARDS * 8 + 2 * CARD * 8  # bytes

SMALL_BYTES = 1 << 16  # have room beside a card
PLACES = 32  # of them, used in turn: a line in another core's cache is slow to write
FEW_BYTES = 1 << 10  # are better off in a cache, wherever it is: two places
STRIDE = SMALL_BYTES + 3 * LINE  # multiples of a power of two share cache sets
BOARD_BYTES = CARD_AT + PLACES * STRIDE

SPIN = 40  # polls before others get the core, where each rank has one of its own
PROGRESS = 16  # MPI is called once in so many waits: a late rank may need it to move
VIEWS = 4096  # of data beside the cards are kept


class Board:
    """One rank's view of the boards ``parts`` of all ranks of ``node``."""

    def __init__(
        self, node: MPI.Intracomm, parts: list[np.ndarray], sync: Any, crowded: bool
    ) -> None:
        """Clear this rank's words; ``crowded``: ranks outnumber cores."""
        self.node, self.me, self.parts, self.sync = node, node.rank, parts, sync
        self.spin = 0 if crowded else SPIN
        words = [part[:CARD_AT].view(np.int64) for part in parts]
        words[self.me][:] = 0
        self.words = [word.data for word in words]
        self.mine = self.words[self.me]
        self.others = [word for i, word in enumerate(self.words) if i != self.me]
        self.ticks = self.waits = 0
        self.views: dict[Any, list[np.ndarray]] = {}

    def post(self, number: int, code: int) -> None:
        """Show what this rank was asked to do; 0 is a mistake."""
        mine = self.mine
        mine[CARDS + (number & 1) * CARD] = code
        self.sync()
        mine[POSTED] = number

    def locate(self, number: int, place: int, goal: int, way: int) -> None:
        """Write on the card where input and output lie, and the way to go."""
        mine, at = self.mine, CARDS + (number & 1) * CARD
        mine[at + 1], mine[at + 2], mine[at + 3] = place, goal, way

    def posted(self, number: int) -> Iterator[int]:
        """Wait until all ranks have posted a card."""
        return self.reached(POSTED, number)

    def agree(self, number: int, code: int) -> bool:
        """Say whether the cards of the others show the same operation."""
        at = CARDS + (number & 1) * CARD
        for word in self.others:
            if word[at] != code:
                return False
        return True

    def places(self, number: int) -> tuple[list[int], list[int], int]:
        """Return where everybody's input and output lie, and rank 0's way to go."""
        at, words = CARDS + (number & 1) * CARD, self.words
        return [w[at + 1] for w in words], [w[at + 2] for w in words], words[0][at + 3]

    def beside(self, number: int, count: int, storage: np.dtype) -> list[np.ndarray]:
        """Return the data beside everybody's card, ``count`` elements each."""
        nbytes = count * storage.itemsize
        turn = number % (PLACES if nbytes > FEW_BYTES else 2)
        key = turn, count, storage
        found = self.views.get(key)
        if found is None:
            if len(self.views) > VIEWS:
                self.views.clear()
            start = CARD_AT + turn * STRIDE
            found = [part[start : start + nbytes].view(storage) for part in self.parts]
            self.views[key] = found
        return found

    def reached(self, index: int, value: int) -> Iterator[int]:
        """Wait until a word of all ranks is ``value`` or more."""
        for word in self.others:
            spin = self.spin
            while word[index] < value:
                if spin:
                    spin -= 1
                    continue
                self.waits += 1
                if self.waits % PROGRESS == 0:
                    self.node.Iprobe()
                yield self.ticks
                spin = self.spin
        self.sync()

    def end_tick(self) -> None:
        """Tell that this rank has ended a tick."""
        self.sync()
        self.ticks += 1
        self.mine[TICKS] = self.ticks

    def ticked(self) -> Iterator[int]:
        """Wait until all ranks have ended as many ticks as this one."""
        return self.reached(TICKS, self.ticks)

    def close(self) -> None:
        """Let go of the memory."""
        self.words, self.others, self.parts = [], [], []
        self.views.clear()
        self.mine = memoryview(b"")
