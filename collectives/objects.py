"""Objects: Python objects as bytes, of any size and different on every rank."""

import pickle
from itertools import accumulate
from typing import Any

import numpy as np

from .chunk import Chunk
from .errors import CollectiveError
from .step import Schedule, receive, send


def packed(value: Any) -> np.ndarray:
    """Return an object as bytes."""
    return np.frombuffer(pickle.dumps(value), np.uint8)


def unpacked(data: np.ndarray) -> Any:
    """Return the object that `packed` has written.

    Raises:
        CollectiveError: its type cannot be read back here; nobody else is affected.
    """
    try:
        return pickle.loads(memoryview(data))
    except Exception as error:
        raise CollectiveError(
            f"an object came that cannot be unpickled: {error!r}"
        ) from error


def places(lengths: list[int]) -> list[Chunk]:
    """Return where each rank's bytes lie when they are put side by side.

    >>> places([2, 0, 3])
    [Chunk(start=0, stop=2), Chunk(start=2, stop=2), Chunk(start=2, stop=5)]
    """
    ends = list(accumulate(lengths, initial=0))
    return [Chunk(*ends[i : i + 2]) for i in range(len(lengths))]


def gather_steps(rank: int, root: int, chunks: list[Chunk]) -> Schedule:
    """Collect ``chunks[r]`` of every rank ``r`` on ``root``."""
    if rank != root:
        yield send(root, chunks[rank])
        return
    for src, chunk in enumerate(chunks):
        if src != root:
            yield receive(src, chunk)
