"""Objects: Python objects as bytes, of any size and different on every rank."""

import pickle
from itertools import accumulate
from typing import Any

import numpy as np

from .arrays import as_array
from .chunk import Chunk
from .endpoint import Endpoint
from .errors import CollectiveError
from .operations import spread
from .plan import compiled
from .step import Schedule, receive, send


def broadcast_object(end: Endpoint, value: Any, root: int) -> Any:
    """Pickle on ``root``; the length first, then the bytes."""

    def prepare() -> tuple[str, Any]:
        end.check_root(root)
        return f"root={root}", packed(value if end.rank == root else None)

    data = yield from end.agreed("broadcast_object", prepare)
    length = as_array(np.array([data.size], np.int64))
    yield from spread(end, length, root)
    if end.rank != root:
        data = np.empty(int(length.data[0]), np.uint8)
    yield from spread(end, as_array(data), root)
    return value if end.rank == root else unpacked(data)


def gather_objects(end: Endpoint, value: Any, root: int) -> Any:
    """Pickle everywhere; the lengths first, then the bytes."""

    def prepare() -> tuple[str, Any]:
        end.check_root(root)
        return f"root={root}", packed(value)

    mine = yield from end.agreed("gather_objects", prepare)
    lengths = as_array(np.zeros(end.size, np.int64))
    lengths.data[end.rank] = mine.size
    plan = end.plan("ring", "allgather", end.size, lengths.dtype)
    yield from end.execute(plan, lengths.data, lengths.dtype)
    chunks = places(lengths.data.tolist())
    data = np.empty(chunks[-1].stop, np.uint8)
    data[slice(*chunks[end.rank])] = mine
    steps = gather_steps(end.rank, root, chunks)
    yield from end.execute(compiled(steps, 1), data, as_array(data).dtype)
    if end.rank != root:
        return None
    return [unpacked(data[slice(*chunk)]) for chunk in chunks]


def packed(value: Any) -> np.ndarray:
    """Return an object as bytes."""
    return np.frombuffer(pickle.dumps(value), np.uint8)


def unpacked(data: np.ndarray) -> Any:
    """Return the object that `packed` has written.

    Raises:
        CollectiveError: its type cannot be read back here; nobody else is affected.
    """
    try:
        return pickle.loads(data.data)
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
