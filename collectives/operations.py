"""Operations: the collectives as iterators that yield while they wait.

Each prepares its arguments, agrees on them with all ranks, and runs a plan.  New arrays
are returned as `Array`; who takes a result gets its value.
"""

from math import prod
from numbers import Integral
from operator import index
from typing import Any

import numpy as np

from . import algorithms
from .arrays import Array, as_array, temporary
from .chunk import Chunk
from .device import current
from .endpoint import Endpoint, Operation
from .errors import InvalidArgument, UnsupportedArray
from .plan import compiled
from .reduction import Reduction
from .step import Exchange

DEVICES = ("cpu", "cuda")
LIMIT = 1 << 31  # of what MPI takes as a color or a key


def empty(end: Endpoint, shape: Any, dtype: Any, where: str) -> Any:
    """Return the steps that make a new array, registered with what moves it.

    Called on the caller's thread, which has a current GPU of its own.
    """
    gpu: int | UnsupportedArray = 0
    if where == "cuda":
        try:
            gpu = current()
        except UnsupportedArray as error:  # told when all ranks have come
            gpu = error
    return allocated(end, shape, dtype, where, gpu)


def allocated(
    end: Endpoint, shape: Any, dtype: Any, where: str, gpu: int | UnsupportedArray
) -> Any:
    """Allocate, on all ranks; ``gpu`` is the one to begin on, or why there is none."""

    def prepare() -> tuple[str, Any]:
        lengths = shape if isinstance(shape, tuple | list) else (shape,)
        lengths = tuple(index(length) for length in lengths)
        like = np.dtype(dtype)
        if min(lengths, default=0) < 0:
            raise InvalidArgument(f"shape {shape}: expected lengths from 0")
        if like.hasobject or like.itemsize == 0 or like.subdtype is not None:
            raise InvalidArgument(
                f"dtype {like}: expected plain elements of some bytes"
            )
        if where not in DEVICES:
            raise InvalidArgument(
                f"device {where!r}: choose from {', '.join(DEVICES)}; the number of "
                "the GPU is that of the current one"
            )
        if isinstance(gpu, UnsupportedArray):
            raise gpu
        return f"{lengths}, {like}, {where}", (lengths, like, gpu)

    def allocate() -> tuple[str, Any]:
        side = end if where == "cpu" else end.device
        return "memory", side.empty(prod(lengths) * like.itemsize)

    lengths, like, number = yield from end.agreed("empty", prepare)
    if where == "cuda":
        yield from end.device.begun(number)
    memory = yield from end.agreed("empty", allocate)
    return memory.view(like).reshape(lengths)


def reduce_scatter(end: Endpoint, x: Any, op: str, algorithm: str) -> Any:
    """Combine; one piece for each rank."""

    def prepare() -> tuple[str, Any]:
        array = as_array(x)
        reduction = Reduction.of(op, array.dtype, end.size)
        check_offers(algorithm, "reduce_scatter")
        signature = f"{say(array)}, op={op}, algorithm={algorithm}"
        return signature, (array, reduction)

    array, reduction = yield from end.agreed("reduce_scatter", prepare)
    sums = temporary(array.data, array.data.size, array.data.dtype)
    data = reduction.working(array.data, sums)
    plan = end.plan(
        algorithm, "reduce_scatter", data.size, array.dtype, host=array.host
    )
    yield from end.execute(plan, data, array.dtype, reduction.op)
    piece = Chunk(0, data.size).split(end.size)[end.rank]
    mine = array.empty(piece.size)
    mine[:] = data[piece.start : piece.stop]
    reduction.finish(mine, mine)
    return array.like(mine, mine.shape)


def allgather(end: Endpoint, x: Any, algorithm: str) -> Any:
    """Collect on all ranks."""

    def prepare() -> tuple[str, Any]:
        array = as_array(x)
        check_offers(algorithm, "allgather")
        return f"{say(array)}, algorithm={algorithm}", array

    array = yield from end.agreed("allgather", prepare)
    count = array.data.size
    data = array.empty(count * end.size)
    data[end.rank * count : (end.rank + 1) * count] = array.data
    plan = end.plan(algorithm, "allgather", data.size, array.dtype, host=array.host)
    yield from end.execute(plan, data, array.dtype)
    return array.like(data, (end.size, *array.shape))


def reduce(end: Endpoint, x: Any, op: str, root: int, algorithm: str) -> Any:
    """Combine on ``root``."""

    def prepare() -> tuple[str, Any]:
        array = as_array(x)
        reduction = Reduction.of(op, array.dtype, end.size)
        end.check_root(root)
        check_offers(algorithm, "reduce")
        signature = f"{say(array)}, op={op}, root={root}, algorithm={algorithm}"
        return signature, (array, reduction)

    array, reduction = yield from end.agreed("reduce", prepare)
    result = array.like(array.empty(array.data.size), array.shape)
    data = reduction.working(array.data, result.data)
    plan = end.plan(algorithm, "reduce", data.size, array.dtype, root, host=array.host)
    yield from end.execute(plan, data, array.dtype, reduction.op)
    if end.rank != root:
        return None
    reduction.finish(data, result.data)
    return result


def broadcast(end: Endpoint, x: Any, root: int, algorithm: str) -> Any:
    """Copy from ``root``."""

    def prepare() -> tuple[str, Any]:
        array = as_array(x, writable=True)
        end.check_root(root)
        check_offers(algorithm, "broadcast")
        return f"{say(array)}, root={root}, algorithm={algorithm}", array

    array = yield from end.agreed("broadcast", prepare)
    yield from spread(end, array, root, algorithm)
    return x


def spread(
    end: Endpoint, array: Array, root: int, algorithm: str = "tree"
) -> Operation:
    """Broadcast an array whose length all ranks know."""
    plan = end.plan(
        algorithm, "broadcast", array.data.size, array.dtype, root, host=array.host
    )
    yield from end.execute(plan, array.data, array.dtype)


def alltoall(end: Endpoint, x: Any) -> Any:
    """Send a row to every rank, directly."""

    def prepare() -> tuple[str, Any]:
        array = as_array(x)
        if not array.shape or array.shape[0] != end.size:
            raise InvalidArgument(
                f"x has shape {array.shape}; its first dimension must be the number "
                f"of ranks, {end.size}"
            )
        return say(array), array

    array = yield from end.agreed("alltoall", prepare)
    count = array.data.size
    data = array.empty(2 * count)
    data[:count] = array.data
    sent, got = (Chunk(i, i + count).split(end.size) for i in (0, count))
    peers = [((end.rank + i) % end.size, end.rank - i) for i in range(end.size)]
    steps = (Exchange(dst, sent[dst], src % end.size, got[src]) for dst, src in peers)
    plan = compiled(steps, array.dtype.itemsize, depth=2 * end.size)
    yield from end.execute(plan, data, array.dtype)
    return array.like(data[count:], array.shape)


def split(end: Endpoint, color: int | None, key: int) -> Any:
    """Return the MPI communicator of the ranks with the same color, or None."""
    from mpi4py import MPI

    def prepare() -> tuple[str, Any]:
        fits = isinstance(color, Integral) and 0 <= color < LIMIT
        if not (color is None or fits):
            raise InvalidArgument(
                f"color={color!r}: expected None or a number from 0, below 2**31"
            )
        if not isinstance(key, Integral) or not -LIMIT <= key < LIMIT:
            raise InvalidArgument(f"key={key!r}: expected a number of 32 bits")
        return "", (MPI.UNDEFINED if color is None else int(color), int(key))

    part = end.mpi.Split(*(yield from end.agreed("split", prepare)))
    return None if part == MPI.COMM_NULL else part


def check_offers(algorithm: str, operation: str) -> None:
    """Check that an algorithm module offers an operation.

    Raises:
        InvalidArgument: it does not; the message lists those that do.
    """
    offering = algorithms.names(operation)
    if algorithm not in offering:
        raise InvalidArgument(
            f"algorithm {algorithm!r} for {operation}: choose from "
            f"{', '.join(offering)}"
        )


def say(array: Array) -> str:
    """Describe what an array brings to a collective."""
    where = "" if array.host else ", on a device"
    return f"count={array.data.size}, dtype={array.dtype.name}{where}"
