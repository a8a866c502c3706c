"""Row: what was measured of one algorithm, at one size, out of place or in place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PERCENTILES = {"min": 0, "p50": 50, "p90": 90, "p99": 99, "max": 100}


@dataclass(frozen=True)
class Row:
    """One line of the results; ``bench/README.rst`` defines the fields."""

    algorithm: str
    size: int  # bytes
    count: int  # elements
    dtype: str
    op: str
    in_place: bool
    time_us: float
    algbw: float  # GB/s, GB = 1e9 bytes
    busbw: float  # GB/s
    wrong: int | None  # None: not checked
    ratio: float | None  # time of native / time; None: native does not take part
    percentiles_us: dict[str, float]
    roof: float | None = None  # percent; None: memory is not the limit, or not known
    device_us: float | None = None  # between events; None: not on a GPU


def bus_factor(ranks: int) -> float:
    """Return bus bandwidth / algorithm bandwidth of an allreduce.

    Each byte has to cross every rank's link ``2 (p - 1) / p`` times, whatever the
    algorithm: so busbw compares with the speed of the links for any p.

    >>> bus_factor(4)
    1.5
    """
    return 2 * (ranks - 1) / ranks


def statistics(
    seconds: np.ndarray,
    size: int,
    ranks: int,
    native: np.ndarray | None,
    passes: Sequence[np.ndarray] = (),
    device: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the measured fields of a row.

    ``seconds`` has an element for each iteration, the time on the slowest rank; so has
    ``native``, the times of the MPI library, and each of ``passes``, those of passes
    over memory, all taken in turn; and ``device``, the times between events.
    """
    time = float(np.median(seconds))
    algbw = size / time / 1e9
    points = np.percentile(seconds * 1e6, list(PERCENTILES.values())).tolist()
    return {
        "time_us": time * 1e6,
        "algbw": algbw,
        "busbw": algbw * bus_factor(ranks),
        "ratio": None if native is None else float(np.median(native)) / time,
        "percentiles_us": dict(zip(PERCENTILES, points, strict=True)),
        "roof": 100 * min(map(np.median, passes)) / time if passes else None,
        "device_us": None if device is None else float(np.median(device)) * 1e6,
    }
