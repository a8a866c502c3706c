"""Measure: time the contenders side by side.

Every call is timed on its own, from a barrier, and takes as long as on the slowest
rank: no rank's work hides behind another's, and nobody starts the next call early.
`bench.place` says when a call has ended.  The contenders take turns, iteration by
iteration, each time another one first, so that whatever disturbs the machine disturbs
them alike.  A turn begins with calls that are not timed: they wake the cores and bring
code and buffers back to the caches, as in a loop of their own.  Else a contender would
pay for what its predecessor left behind, and that is always the same one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import elements
from .baselines import Bind
from .inputs import Inputs
from .options import Options
from .place import HOST
from .roofline import UNKNOWN, Roofline
from .row import Row, statistics

CACHED_BYTES = 16 << 20  # more does not stay in a cache from one call to the next
UNTIMED = 16  # calls at the beginning of a turn, at most


class Entry(NamedTuple):
    """What takes a turn: a call, before which ``buffer`` is set to ``start``.

    Where ``start`` is None, it stays as it is.  Where there are ``inputs``, ``buffer``
    receives their reduction.
    """

    call: Callable[[], Any]
    buffer: Any
    start: Any
    inputs: Inputs | None = None


class Raced(NamedTuple):
    """What was measured: of each entry, alike on all ranks."""

    seconds: np.ndarray  # (entries, iters), of the slowest rank
    device: np.ndarray  # the same between events; NaN on the host
    wrong: np.ndarray  # (entries,), elements of all ranks after the last iteration


def measure(
    contenders: Mapping[str, Bind],
    options: Options,
    mpi: Any,
    *,
    roofline: Roofline = UNKNOWN,
    place: Any = HOST,
    empty: Callable[[int, np.dtype], Any] | None = None,
) -> Iterator[list[Row]]:
    """Yield the rows of one size after the other, alike on all ranks.

    Two buffers are allocated once, by ``empty(count, dtype)``, by default that of
    ``place``, for the largest size.  The passes of ``roofline`` take turns with the
    contenders.
    """
    inputs = Inputs(options.dtype, options.op, mpi.size, options.seed)
    counts = options.counts()
    storage = elements.storage(options.dtype)
    memory = [(empty or place.empty)(max(counts), storage) for _ in range(2)]
    mine = np.empty(max(counts), storage)
    inputs.fill(mine, mpi.rank)
    for count in counts:
        x, out = (buffer[:count] for buffer in memory)
        place.put(mine[:count], x)
        rows = []
        for in_place in (False, True):
            entries = enter(contenders.values(), inputs, x, out, in_place=in_place)
            entries += [
                Entry(call, buffer, np.float32(1))
                for call, buffer in roofline.passes(x.nbytes, in_place=in_place)
            ]
            seconds, device, wrong = race(entries, options, mpi, place)
            on_gpu = not np.isnan(device).any()
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
                    **statistics(
                        seconds[i],
                        x.nbytes,
                        mpi.size,
                        native,
                        passes,
                        device[i] if on_gpu else None,
                    ),
                )
                for i, name in enumerate(contenders)
            ]
        yield rows


def enter(
    contenders: Iterable[Bind],
    inputs: Inputs,
    x: Any,
    out: Any,
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
    entries: Sequence[Entry], options: Options, mpi: Any, place: Any = HOST
) -> Raced:
    """Run the entries in turn, ``iters`` times; return what was measured."""
    from mpi4py import MPI

    times = np.zeros((2, len(entries), options.iters))
    wrong = np.zeros(len(entries), np.int64)
    for i in range(-options.warmup, options.iters):
        for j in turns(len(entries), i):
            call, buffer, start, inputs = entries[j]
            for _ in range(untimed(buffer.nbytes) + 1):
                if start is not None:
                    buffer[:] = start
                took = place.timed(mpi.Barrier, call)
            if i >= 0:
                times[:, j, i] = took
            if inputs is not None and options.check and i == options.iters - 1:
                wrong[j] = inputs.wrong(place.get(buffer))
    mpi.Allreduce(MPI.IN_PLACE, times, MPI.MAX)
    mpi.Allreduce(MPI.IN_PLACE, wrong, MPI.SUM)
    seconds, device = times
    return Raced(seconds, device, wrong)


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
