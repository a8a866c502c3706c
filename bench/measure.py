"""Measure: time the contenders side by side.

Every call is timed on its own, from a barrier, and takes as long as on the slowest
rank: no rank's work hides behind another's, and nobody starts the next call early.  The
contenders take turns, iteration by iteration, each time another one first, so that
whatever disturbs the machine disturbs them alike.  A turn begins with calls that are
not timed: they wake the cores and bring code and buffers back to the caches, as in a
loop of their own.  Else a contender would pay for what its predecessor left behind, and
that is always the same one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import elements
from .baselines import Bind
from .inputs import Inputs
from .options import Options
from .roofline import UNKNOWN, Roofline
from .row import Row, statistics

CACHED_BYTES = 16 << 20  # more does not stay in a cache from one call to the next
UNTIMED = 16  # calls at the beginning of a turn, at most


class Entry(NamedTuple):
    """What takes a turn: a call, before which ``buffer`` is set to ``start``.

    Where there are ``inputs``, ``buffer`` receives their reduction.
    """

    call: Callable[[], Any]
    buffer: np.ndarray
    start: Any
    inputs: Inputs | None = None


def measure(
    contenders: Mapping[str, Bind],
    options: Options,
    mpi: Any,
    *,
    roofline: Roofline = UNKNOWN,
    empty: Callable[[int, np.dtype], np.ndarray] = np.empty,
) -> Iterator[list[Row]]:
    """Yield the rows of one size after the other, alike on all ranks.

    Two buffers are allocated once, by ``empty(count, dtype)``, for the largest size.
    The passes of ``roofline`` take turns with the contenders.
    """
    inputs = Inputs(options.dtype, options.op, mpi.size, options.seed)
    counts = options.counts()
    storage = elements.storage(options.dtype)
    memory = [empty(max(counts), storage) for _ in range(2)]
    for count in counts:
        x, out = (buffer[:count] for buffer in memory)
        inputs.fill(x, mpi.rank)
        rows = []
        for in_place in (False, True):
            entries = enter(contenders.values(), inputs, x, out, in_place=in_place)
            entries += [
                Entry(call, buffer, np.float32(1))
                for call, buffer in roofline.passes(x.nbytes, in_place=in_place)
            ]
            seconds, wrong = race(entries, options, mpi)
            native = dict(zip(contenders, seconds, strict=False)).get("native")
            passes = list(seconds[len(contenders) :])
            rows += [
                Row(
                    algorithm=name,
                    size=x.nbytes,
                    count=count,
                    dtype=options.dtype,
                    op=options.op,
                    in_place=in_place,
                    wrong=int(wrong[i]) if options.check else None,
                    **statistics(seconds[i], x.nbytes, mpi.size, native, passes),
                )
                for i, name in enumerate(contenders)
            ]
        yield rows


def enter(
    contenders: Iterable[Bind],
    inputs: Inputs,
    x: np.ndarray,
    out: np.ndarray,
    *,
    in_place: bool,
) -> list[Entry]:
    """Return what the contenders do: reduce ``x``, or its copy in ``out``, there."""
    source, target = (elements.as_passed(inputs.dtype, b) for b in (x, out))
    start = x if in_place else x.dtype.type(0)  # no result is zero
    return [
        Entry(bind(target if in_place else source, target), out, start, inputs)
        for bind in contenders
    ]


def race(
    entries: Sequence[Entry], options: Options, mpi: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Run the entries in turn; return seconds, ``(entries, iters)``, and wrong ones.

    Seconds are those of the slowest rank, wrong elements, ``(entries,)``, those of all
    ranks together in the last iteration.
    """
    from mpi4py import MPI

    seconds = np.zeros((len(entries), options.iters))
    wrong = np.zeros(len(entries), np.int64)
    for i in range(-options.warmup, options.iters):
        for j in turns(len(entries), i):
            call, buffer, start, inputs = entries[j]
            for _ in range(untimed(buffer.nbytes) + 1):
                buffer[:] = start
                mpi.Barrier()
                before = time.perf_counter()
                call()
                after = time.perf_counter()
            if i >= 0:
                seconds[j, i] = after - before
            if inputs is not None and options.check and i == options.iters - 1:
                wrong[j] = inputs.wrong(buffer)
    mpi.Allreduce(MPI.IN_PLACE, seconds, MPI.MAX)
    mpi.Allreduce(MPI.IN_PLACE, wrong, MPI.SUM)
    return seconds, wrong


def untimed(nbytes: int) -> int:
    """Return how many calls bring a contender back to its stride.

    >>> [untimed(nbytes) for nbytes in (4, 1 << 22, 1 << 24, 1 << 25)]
    [16, 4, 1, 0]
    """
    return min(UNTIMED, CACHED_BYTES // max(1, nbytes))


def turns(n: int, i: int) -> list[int]:
    """Return the order of ``n`` contenders in iteration ``i``.

    >>> turns(3, 1)
    [1, 2, 0]
    """
    return [(i + j) % n for j in range(n)]
