"""Contest: let the algorithms race at one size after another, to tune by.

All candidates sum in place, side by side as in `bench.measure`.  After a few turns
those within ``SLOWEST`` times the fastest race again, with as many turns as fit a time.
Where buffers are long, so do variants of the fastest one that passes messages: other
lengths of messages, more steps in flight.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from collectives import (
    Choice,
    Chunk,
    Communicator,
    Exchange,
    InvalidArgument,
    UnsupportedTopology,
    WrongResult,
    algorithms,
)

from .inputs import Inputs
from .measure import Entry, race
from .options import Options

SLOWEST = 2.0
BUDGET_S = 1.0  # of a race
FIRST_TURNS = 3
LEAST_TURNS = 5
LONG = 1 << 18  # bytes from which variants take part
LONGEST = 1 << 25  # bytes from which one turn has to tell who races again
SEGMENTS = (1 << 17, 1 << 19, 1 << 21)  # bytes
DEPTHS = (4, 8)


class Contest:
    """The buffers of a type, allocated once, and the races on them."""

    def __init__(
        self, options: Options, comm: Communicator, mpi: Any, registered: bool
    ) -> None:
        """Allocate for the largest size, in memory of ``comm.empty`` if registered."""
        self.options, self.comm, self.mpi = options, comm, mpi
        self.inputs = Inputs(options.dtype, "sum", mpi.size, options.seed)
        most = max(options.counts())
        self.start = np.empty(most, options.dtype)
        self.inputs.fill(self.start, mpi.rank)
        self.memory = (comm.empty if registered else np.empty)(most, options.dtype)

    def sizes(self) -> Iterator[tuple[int, dict[Choice, float]]]:
        """Yield bytes, and the microseconds of all candidates, alike on all ranks.

        Raises:
            WrongResult: on all ranks, if an algorithm's result is wrong.
        """
        names = candidates(self.comm, self.options.dtype)
        for count in self.options.counts():
            nbytes = self.start[:count].nbytes
            times = self.race(count, names, 1 if nbytes >= LONGEST else FIRST_TURNS)
            best = min(times.values())
            close = [choice for choice, us in times.items() if us <= SLOWEST * best]
            if nbytes >= LONG:
                close += variants(times, self.comm)
            turns = int(BUDGET_S * 1e6 / sum(times.get(c, best) for c in close))
            turns = min(self.options.iters, max(LEAST_TURNS, turns))
            yield nbytes, times | self.race(count, close, turns)

    def race(
        self, count: int, choices: list[Choice], turns: int
    ) -> dict[Choice, float]:
        """Return the median microseconds of each choice, alike on all ranks."""
        out, start = self.memory[:count], self.start[:count]
        calls = [
            partial(self.comm.allreduce, out, out=out, algorithm=str(choice))
            for choice in choices
        ]
        options = replace(self.options, iters=turns, warmup=1)
        entries = [Entry(call, out, start, self.inputs) for call in calls]
        seconds, _, wrong = race(entries, options, self.mpi)
        for choice, n in zip(choices, wrong.tolist(), strict=True):
            if n:
                raise WrongResult(f"{choice}: {n} wrong elements at {out.nbytes} bytes")
        medians = np.median(seconds, axis=1) * 1e6
        return dict(zip(choices, medians.tolist(), strict=True))


def candidates(comm: Communicator, dtype: str) -> list[Choice]:
    """Return the algorithms that ``auto`` may take here for this type."""
    found = []
    one = np.ones(1, dtype)
    for name in algorithms.names():
        try:
            comm.allreduce(one, algorithm=name)
        except (InvalidArgument, UnsupportedTopology):  # on all ranks
            continue
        if name != "rank_order":  # it is for deterministic=True
            found.append(Choice(name))
    return found


def variants(times: dict[Choice, float], comm: Communicator) -> list[Choice]:
    """Return other ways to run the fastest algorithm that passes messages."""
    for choice in sorted(times, key=times.__getitem__):
        module = algorithms.load(choice.algorithm)
        steps = module.schedule(comm.topology, 0, Chunk(0, 1 << 20))
        if any(isinstance(step, Exchange) for step in islice(steps, 64)):
            lengths = [choice._replace(segment=n) for n in SEGMENTS]
            return [*lengths, *(choice._replace(depth=n) for n in DEPTHS)]
    return []
