"""Operations: the collectives as iterators that yield while they wait.

Each prepares its arguments, agrees on them with all ranks, and runs a plan.
"""

from operator import index
from typing import Any, NamedTuple

import numpy as np

from . import algorithms, select
from .arrays import Array, DType, as_array, output_for
from .chunk import Chunk
from .endpoint import Endpoint, Operation
from .errors import InvalidArgument
from .plan import Plan, compiled
from .reduction import Reduction
from .step import Exchange
from .tuned import dtype_class


class Allreduce(NamedTuple):
    """An allreduce that has been checked."""

    x: Array
    out: Array
    reduction: Reduction
    plan: Plan


def prepare_allreduce(
    end: Endpoint,
    x: Any,
    op: str = "sum",
    *,
    out: Any = None,
    algorithm: str = "auto",
    prescale: float = 1.0,
    postscale: float = 1.0,
    wire: str | None = None,
    deterministic: bool = False,
) -> tuple[str, Allreduce]:
    """Check the arguments; return their signature, alike on all ranks, and the call."""
    array = as_array(x)
    result = output_for(array, out)
    scales = float(prescale), float(postscale)
    asked = array.dtype, array.data.size, op, algorithm, scales, wire, deterministic
    if asked not in end.planned:
        end.planned[asked] = planned(end, *asked)
    signature, reduction, plan = end.planned[asked]
    return signature, Allreduce(array, result, reduction, plan)


def planned(
    end: Endpoint,
    dtype: DType,
    count: int,
    op: str,
    algorithm: str,
    scales: tuple[float, float],
    wire: str | None,
    deterministic: bool,
) -> tuple[str, Reduction, Plan]:
    """Choose the algorithm and plan it; return also what the other ranks must match."""
    reduction = Reduction.of(
        op, dtype, end.size, wire=wire, scales=scales, deterministic=deterministic
    )
    call = select.Call(
        count * reduction.wire.itemsize,
        native=reduction.wire == dtype and end.adds(dtype, reduction.op),
        dtype=dtype_class(reduction.wire.name),
    )
    chosen = select.choose(
        algorithm,
        end.topology,
        call,
        end.machine,
        table=end.tuned.table,
        deterministic=deterministic,
    )
    name, segment, depth = chosen
    plan = end.plan(
        name, "schedule", count, reduction.work, segment=segment, depth=depth
    )
    end.tell(f"allreduce of {count * dtype.itemsize} bytes: {chosen}")
    signature = (
        f"count={count}, dtype={dtype.name}, op={op}, algorithm={chosen}, "
        f"wire={reduction.wire.name}, prescale={scales[0]}, postscale={scales[1]}"
    )
    return signature, reduction, plan


def run_allreduce(end: Endpoint, call: Allreduce) -> Operation:
    """Carry out an allreduce on which all ranks have agreed."""
    x, out, reduction, plan = call
    data = reduction.working(x, out)
    yield from end.execute(plan, data, reduction.work, reduction.op, reduction.wire)
    reduction.finish(data, out.data)


def run_planned(end: Endpoint, call: Allreduce) -> Operation:
    """Carry out an allreduce on which all ranks have agreed some time ago.

    The MPI library's own blocks without a deadline: so all ranks must have come.
    """
    end.doing = f"planned allreduce({say(call.x)})"
    if call.plan.native:
        yield from end.agree(end.doing)
    yield from run_allreduce(end, call)


def allreduce(end: Endpoint, x: Any, op: str, out: Any, **options: Any) -> Any:
    """Combine on all ranks."""
    call = yield from end.agreed(
        "allreduce", lambda: prepare_allreduce(end, x, op, out=out, **options)
    )
    yield from run_allreduce(end, call)
    return call.out.value if out is None else out


def reduce_scatter(end: Endpoint, x: Any, op: str, algorithm: str) -> Any:
    """Combine; one piece for each rank."""

    def prepare() -> tuple[str, Any]:
        array = as_array(x)
        reduction = Reduction.of(op, array.dtype, end.size)
        check_offers(algorithm, "reduce_scatter")
        signature = f"{say(array)}, op={op}, algorithm={algorithm}"
        return signature, (array, reduction)

    array, reduction = yield from end.agreed("reduce_scatter", prepare)
    scratch = array.like(np.empty_like(array.data), array.shape)
    data = reduction.working(array, scratch)
    plan = end.plan(algorithm, "reduce_scatter", data.size, array.dtype)
    yield from end.execute(plan, data, array.dtype, reduction.op)
    piece = Chunk(0, data.size).split(end.size)[end.rank]
    mine = data[piece.start : piece.stop].copy()
    reduction.finish(mine, mine)
    return array.like(mine, mine.shape).value


def allgather(end: Endpoint, x: Any, algorithm: str) -> Any:
    """Collect on all ranks."""

    def prepare() -> tuple[str, Any]:
        array = as_array(x)
        check_offers(algorithm, "allgather")
        return f"{say(array)}, algorithm={algorithm}", array

    array = yield from end.agreed("allgather", prepare)
    count = array.data.size
    data = np.empty(count * end.size, array.data.dtype)
    data[end.rank * count : (end.rank + 1) * count] = array.data
    plan = end.plan(algorithm, "allgather", data.size, array.dtype)
    yield from end.execute(plan, data, array.dtype)
    return array.like(data, (end.size, *array.shape)).value


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
    result = array.like(np.empty_like(array.data), array.shape)
    data = reduction.working(array, result)
    plan = end.plan(algorithm, "reduce", data.size, array.dtype, root)
    yield from end.execute(plan, data, array.dtype, reduction.op)
    if end.rank != root:
        return None
    reduction.finish(data, result.data)
    return result.value


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
    plan = end.plan(algorithm, "broadcast", array.data.size, array.dtype, root)
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
    data = np.concatenate([array.data, np.empty_like(array.data)])
    sent, got = (Chunk(i, i + count).split(end.size) for i in (0, count))
    peers = [((end.rank + i) % end.size, end.rank - i) for i in range(end.size)]
    steps = (Exchange(dst, sent[dst], src % end.size, got[src]) for dst, src in peers)
    plan = compiled(steps, array.dtype.itemsize, depth=2 * end.size)
    yield from end.execute(plan, data, array.dtype)
    return array.like(data[count:], array.shape).value


def split(end: Endpoint, color: int | None, key: int) -> Any:
    """Return the MPI communicator of the ranks with the same color, or None."""
    from mpi4py import MPI

    def prepare() -> tuple[str, Any]:
        mine = MPI.UNDEFINED if color is None else index(color)
        if color is not None and mine < 0:
            raise InvalidArgument(f"color={color}: expected None or a number from 0")
        return "", (mine, index(key))

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
    return f"count={array.data.size}, dtype={array.dtype.name}"
