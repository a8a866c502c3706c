"""Agreement: before data moves, all ranks make sure that they do the same thing.

A digest of what every rank was asked to do is compared: on the board in shared memory
where all ranks are on one node, else by a small allreduce of the control communicator.
A rank whose arguments are wrong takes part too and says so; then, and when two ranks
differ, all of them raise the same error.
"""

from collections.abc import Callable, Generator, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np

from . import errors
from .errors import CollectiveError, ShapeMismatch


class Agreement:
    """Compare what the ranks of ``mpi`` do; nobody else may use ``mpi``.

    ``board`` is shared memory that all ranks see, if there is some.
    """

    def __init__(self, mpi: Any, heed: Callable[[], None]) -> None:
        """Count operations from one; ``heed`` raises if the others have given up."""
        self.mpi, self.heed = mpi, heed
        self.board: Any = None
        self.number = 0
        self.mine = np.zeros(3, np.int64)
        self.most = np.zeros(3, np.int64)

    def reach(
        self, signature: str, error: CollectiveError | None = None
    ) -> Iterator[int]:
        """Wait for all ranks, and compare.

        Raises:
            CollectiveError: the ``error`` of the lowest rank that passed one.
            ShapeMismatch: two ranks were asked to do different things.
        """
        self.number += 1
        if self.mpi.size == 1:
            if error is not None:
                raise error
            return
        compare = self.by_message if self.board is None else self.by_board
        same = yield from compare(digest(signature), error is not None)
        self.heed()
        if not same:
            self.explain(signature, error)

    def by_board(self, code: int, wrong: bool) -> Generator[int, None, bool]:
        """Say whether all ranks show the same code, and no mistake."""
        self.board.post(self.number, 0 if wrong else code)
        yield from self.board.posted(self.number)
        same: bool = self.board.agree(self.number, code)
        return same and not wrong

    def by_message(self, code: int, wrong: bool) -> Generator[int, None, bool]:
        """Say whether all ranks sent the same code, and no mistake."""
        from mpi4py import MPI

        self.mine[:] = code, -code, wrong
        request = self.mpi.Iallreduce(self.mine, self.most, MPI.MAX)
        while not request.Test():
            yield 0
        largest, smallest, wrong = self.most.tolist()
        return not wrong and largest == -smallest

    def explain(self, signature: str, error: CollectiveError | None = None) -> None:
        """Exchange what everybody did, and raise the same error on all ranks."""
        mine = None if error is None else (type(error).__name__, str(error))
        everybody = self.mpi.allgather((signature, mine))
        for rank, (_, theirs) in enumerate(everybody):
            if theirs is not None:
                kind, text = theirs
                kind = getattr(errors, kind, CollectiveError)
                raise kind(f"{text} (rank {rank})") from error
        expected = everybody[0][0]
        for rank, (got, _) in enumerate(everybody):
            if got != expected:
                raise ShapeMismatch(
                    f"operation {self.number}: rank {rank} called {got}, rank 0 called "
                    f"{expected}; every rank must make the same calls in the same "
                    "order (COLLECTIVES_DEBUG=1 traces the calls)"
                )


@lru_cache(maxsize=4096)
def digest(text: str) -> int:
    """Return a number below 2**56 that tells texts apart, alike on all ranks."""
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "big")
