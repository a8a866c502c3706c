"""Board: words in shared memory by which the ranks of a node meet.

Every rank writes its own words and reads those of the others; words of different use
lie in different cache lines.  A *card* tells what a rank was asked to do: the number of
the operation, its code, and three words more, or a little data.  Two of them are used
in turn, since nobody is more than one operation ahead.
"""

from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import numpy as np
from mpi4py import MPI

LINE = 64  # bytes that cores hand each other
TICKS, PLACE = 0, 1  # words
NUMBER, CODE, REST, CARD = 0, 1, 2, 136  # words of a card, and their number
CARDS = LINE // 8, LINE // 8 + CARD
BOARD_BYTES = CARDS[1] * 8 + CARD * 8

SPIN = 40  # polls before others get the core, where each rank has one of its own
POLLS = 100  # of the others' cards, before it is a wait
PROGRESS = 16  # MPI is called once in so many waits: a late rank may need it to move


class Board:
    """One rank's view of the boards ``parts`` of all ranks of ``node``."""

    def __init__(
        self, node: MPI.Intracomm, parts: list[np.ndarray], sync: Any, crowded: bool
    ) -> None:
        """Clear this rank's words; ``crowded``: ranks outnumber cores."""
        self.node, self.me, self.parts, self.sync = node, node.rank, parts, sync
        self.spin, self.polls = (0, 0) if crowded else (SPIN, POLLS)
        words = [part[:BOARD_BYTES].view(np.int64) for part in parts]
        words[self.me][:] = 0
        self.words = [word.data for word in words]
        self.mine = self.words[self.me]
        self.others = [word for i, word in enumerate(self.words) if i != self.me]
        self.ticks = self.waits = 0
        self.quiet: Callable[..., Any] = quiet().run  # for arithmetic; not reentrant

    def post(self, number: int, code: int) -> None:
        """Show what this rank was asked to do; 0 is a mistake."""
        mine, at = self.mine, CARDS[number & 1]
        mine[at + CODE] = code
        self.sync()
        mine[at + NUMBER] = number

    def locate(self, number: int, place: int, goal: int, way: int) -> None:
        """Write on the card where input and output lie, and the way to go."""
        mine, at = self.mine, CARDS[number & 1] + REST
        mine[at], mine[at + 1], mine[at + 2] = place, goal, way

    def seen(self, number: int, code: int) -> bool:
        """Say whether the others show the same operation, at once or almost."""
        at, polls = CARDS[number & 1], self.polls
        for word in self.others:
            while word[at + NUMBER] < number:
                polls -= 1
                if polls < 0:
                    return False
            if word[at + CODE] != code:
                return False
        self.sync()
        return True

    def posted(self, number: int) -> Iterator[int]:
        """Wait until all ranks have posted a card."""
        return self.reached(CARDS[number & 1] + NUMBER, number)

    def agree(self, number: int, code: int) -> bool:
        """Say whether the cards of the others show the same operation."""
        at = CARDS[number & 1] + CODE
        for word in self.others:
            if word[at] != code:
                return False
        return True

    def places(self, number: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Return where everybody's input and output lie, and rank 0's way to go."""
        at, words = CARDS[number & 1] + REST, self.words
        places = tuple([w[at] for w in words])
        return places, tuple([w[at + 1] for w in words]), words[0][at + 2]

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
        self.mine = memoryview(b"")


def quiet() -> Context:
    """Return a context in which NumPy does not warn: inf and nan are results."""
    context = Context()
    context.run(np.seterr, all="ignore")
    return context
