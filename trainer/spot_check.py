"""Spot check: look for unreadable images before a run, not in the middle of it.

All ranks together decode a sample, spread evenly over the training and test images.
Where there are few images that is all of them; `python -m trainer.data check` looks
through any number.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from collectives import InvalidArgument
from trainer import agree

SHOWN = 3  # files in the message


def look(comm: Any, parts: Sequence[Any], *, most: int) -> None:
    """Decode up to ``most`` images on each rank; all ranks call this together.

    ``parts`` are data sets; those without files have nothing to check.

    Raises:
        InvalidArgument: on all ranks, naming the first files that cannot be read.
    """
    parts = [part for part in parts if hasattr(part, "problem")]
    chosen = sample(sum(map(len, parts)), most * comm.size)
    mine = [look_at(parts, int(number)) for number in chosen[comm.rank :: comm.size]]
    everyone = comm.gather_objects([text for text in mine if text], root=0)
    agree.on_root(comm, lambda: refuse(everyone, len(chosen)))


def sample(count: int, most: int) -> np.ndarray:
    """Return at most ``most`` of the numbers below ``count``, evenly spread.

    >>> sample(10, 4).tolist(), sample(2, 4).tolist()
    ([0, 2, 5, 7], [0, 1])
    """
    taken = min(count, most)
    return np.arange(taken, dtype=np.int64) * count // max(1, taken)


def look_at(parts: Sequence[Any], number: int) -> str | None:
    """Return what is wrong with an image of the parts, numbered one after another."""
    for part in parts:
        if number < len(part):
            problem: str | None = part.problem(number)
            return problem
        number -= len(part)
    raise AssertionError(f"the parts have no image {number} more")


def refuse(everyone: Sequence[Sequence[str]], seen: int) -> None:
    """Name what the ranks have found.

    Raises:
        InvalidArgument: if it is anything.
    """
    found = sorted(text for mine in everyone for text in mine)
    if found:
        rest = f"; and {len(found) - SHOWN} more" * (len(found) > SHOWN)
        raise InvalidArgument(
            f"{len(found)} of {seen:,} images looked at cannot be read: "
            f"{'; '.join(found[:SHOWN])}{rest}. Repair or remove all that `python -m "
            "trainer.data check` lists, or use --data-errors skip"
        )
