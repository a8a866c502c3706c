"""Measure: time the contenders side by side.

Every call is timed on its own, from a barrier, and takes as long as on the slowest
rank: no rank's work hides behind another's, and nobody starts the next call early.  The
contenders take turns, iteration by iteration, each time another one first, so that
whatever disturbs the machine disturbs them alike.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import elements
from .baselines import Bind
from .inputs import Inputs
from .options import Options
from .row import Row, statistics


def measure(
    contenders: Mapping[str, Bind], options: Options, mpi: Any
) -> Iterator[list[Row]]:
    """Yield the rows of one size after the other, alike on all ranks.

    Two buffers are allocated once, for the largest size.
    """
    inputs = Inputs(options.dtype, options.op, mpi.size, options.seed)
    counts = options.counts()
    storage = elements.storage(options.dtype)
    memory = [np.empty(max(counts), storage) for _ in range(2)]
    for count in counts:
        x, out = (buffer[:count] for buffer in memory)
        inputs.fill(x, mpi.rank)
        rows = []
        for in_place in (False, True):
            source, target = (elements.as_passed(options.dtype, b) for b in (x, out))
            calls = [
                bind(target if in_place else source, target)
                for bind in contenders.values()
            ]
            start = x if in_place else storage.type(0)  # no result is zero
            seconds, wrong = race(calls, options, mpi, (out, start), inputs)
            native = dict(zip(contenders, seconds, strict=True)).get("native")
            rows += [
                Row(
                    algorithm=name,
                    size=x.nbytes,
                    count=count,
                    dtype=options.dtype,
                    op=options.op,
                    in_place=in_place,
                    wrong=int(wrong[i]) if options.check else None,
                    **statistics(seconds[i], x.nbytes, mpi.size, native),
                )
                for i, name in enumerate(contenders)
            ]
        yield rows


def race(
    calls: list[Any], options: Options, mpi: Any, reset: tuple[Any, Any], inputs: Inputs
) -> tuple[np.ndarray, np.ndarray]:
    """Run the calls in turn; return seconds, ``(calls, iters)``, and wrong elements.

    Before each call the buffer ``reset[0]``, where results appear, is set to
    ``reset[1]``.  Seconds are those of the slowest rank, wrong elements, ``(calls,)``,
    those of all ranks together in the last iteration.
    """
    from mpi4py import MPI

    out, start = reset
    seconds = np.zeros((len(calls), options.iters))
    wrong = np.zeros(len(calls), np.int64)
    for i in range(-options.warmup, options.iters):
        for j in turns(len(calls), i):
            out[:] = start
            mpi.Barrier()
            before = time.perf_counter()
            calls[j]()
            after = time.perf_counter()
            if i >= 0:
                seconds[j, i] = after - before
            if options.check and i == options.iters - 1:
                wrong[j] = inputs.wrong(out)
    mpi.Allreduce(MPI.IN_PLACE, seconds, MPI.MAX)
    mpi.Allreduce(MPI.IN_PLACE, wrong, MPI.SUM)
    return seconds, wrong


def turns(n: int, i: int) -> list[int]:
    """Return the order of ``n`` contenders in iteration ``i``.

    >>> turns(3, 1)
    [1, 2, 0]
    """
    return [(i + j) % n for j in range(n)]
