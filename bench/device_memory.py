"""Memory of a GPU: how fast our kernels go through it, beside a copy.

    copy     b = a        2 n bytes: read a, write b; cudaMemcpyAsync
    add      b = b + a    3 n bytes: as a step combines what has arrived
    scale    b = b f      2 n bytes

A timed call queues ``REPEATS`` of a kind, so that starting a kernel, some microseconds,
is hidden behind the one before; the time is that between two events.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from collectives import arrays, kernels

from . import elements
from .device_report import Rate
from .measure import Entry, race

DTYPES = ("float32", "float16", "bfloat16")
REPEATS = 10
TRAFFIC = {"copy": 2, "add": 3, "scale": 2}  # times the bytes of an array
FACTOR = -1.0  # of scale: numbers stay as large as they are
GOAL = 0.85  # of the bandwidth of the copy


def rates(dtype: str, nbytes: int, options: Any, mpi: Any, place: Any) -> list[Rate]:
    """Measure kernels on arrays of ``nbytes`` of a type, alike on all ranks."""
    one = elements.encode(dtype, np.ones(1))[0]
    a, b = (place.empty(nbytes // one.itemsize, one.dtype) for _ in range(2))
    a[:] = one
    kinds = calls(arrays.DTYPES[dtype], a, b)
    entries = [Entry(repeated(call), b, one) for call in kinds.values()]
    device = race(entries, options, mpi, place).device
    speeds = {
        kind: REPEATS * TRAFFIC[kind] * nbytes / float(np.median(seconds)) / 1e9
        for kind, seconds in zip(kinds, device, strict=True)
    }
    copy = speeds["copy"]
    found = [Rate("memory", "copy", dtype, nbytes, copy)]
    return found + [
        Rate(
            "memory",
            kind,
            dtype,
            nbytes,
            speeds[kind],
            ratio=speeds[kind] / copy,
            limit="copy",
            goal=GOAL if kind == "add" else None,
        )
        for kind in ("add", "scale")
    ]


def calls(dtype: Any, a: Any, b: Any) -> dict[str, Callable[[], Any]]:
    """Return what is queued, by kind."""

    def copy() -> None:
        b[:] = a

    return {
        "copy": copy,
        "add": lambda: kernels.combine("sum", dtype, b, b, a),
        "scale": lambda: kernels.scale(dtype, b, FACTOR),
    }


def repeated(call: Callable[[], Any]) -> Callable[[], None]:
    """Return a call of many."""

    def many() -> None:
        for _ in range(REPEATS):
            call()

    return many
