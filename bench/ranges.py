"""Ranges: from times at some sizes to lines for all sizes between.

A measured size speaks for the sizes that are nearer to it, by ratio, than to its
neighbours; the smallest one for all below it too.  Above the largest one, by more than
half a step, nothing is claimed.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from math import isqrt

from collectives import Choice, tuned

NATIVE = Choice("native")
SWITCH = 1.03  # times within this ratio are alike

Times = Mapping[Choice, float]  # us


def lines(
    measured: Mapping[int, Times], collective: str, dtype: str, registered: bool
) -> list[tuned.Line]:
    """Return the lines of a table: neighbours with the same choice are merged."""
    sizes = sorted(measured)
    chosen = winners([measured[n] for n in sizes])
    ends = upper_ends(sizes)
    found: list[tuned.Line] = []
    start = 0
    for choice, same in groupby(range(len(sizes)), key=chosen.__getitem__):
        indices = list(same)
        end = ends[indices[-1]]
        evidence = {sizes[i]: measured[sizes[i]] for i in indices}
        found.append(
            tuned.Line(collective, dtype, registered, start, end, choice, evidence)
        )
        start = end + 1
    return found


def winners(times: Sequence[Times]) -> list[Choice]:
    """Return the choice at each size, in order of size.

    The choice of the size before stays while it is the fastest within ``SWITCH``.
    Else the MPI library's own goes first if it is, then the plain form of the fastest
    algorithm, then the fastest.
    """
    chosen: list[Choice] = []
    for found in times:
        best = min(found, key=found.__getitem__)
        plain = best._replace(segment=None, depth=None)
        for choice in (*chosen[-1:], NATIVE, plain, best):
            if found.get(choice, float("inf")) <= SWITCH * found[best]:
                chosen.append(choice)
                break
    return chosen


def upper_ends(sizes: Sequence[int]) -> list[int]:
    """Return the last byte that each size speaks for.

    >>> upper_ends([4, 16, 64])
    [8, 32, 128]
    """
    if len(sizes) == 1:
        return list(sizes)
    between = [isqrt(a * b) for a, b in pairwise(sizes)]
    return [*between, isqrt(sizes[-1] ** 3 // sizes[-2])]
