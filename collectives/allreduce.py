"""Allreduce: choose how, agree on it with all ranks, and carry it out.

On one node the agreement is a card on the board in shared memory, beside which few
bytes of data travel; elsewhere a message, after which the steps of a plan are run.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from . import ops, select
from .agreement import digest
from .arrays import Array, DType, as_array, output_for, same_memory
from .choice import Choice
from .endpoint import Endpoint, Operation
from .errors import InvalidArgument
from .plan import Plan
from .reduction import Reduction
from .tuned import dtype_class


class Kind(NamedTuple):
    """What all calls of one kind share: what to agree on, and how to carry it out.

    ``plans``: of arrays that are not registered, and of registered ones; None where the
    engine of the node takes the whole call as its ``job``.
    """

    signature: str
    code: int  # digest of the signature
    reduction: Reduction
    plans: tuple[Plan | None, Plan | None]
    job: Any  # None: where the arrays lie makes no difference
    few: Any  # how few bytes travel with the card; None if they are many
    card: bool  # on one node: agreed on by a card


class Allreduce(NamedTuple):
    """An allreduce that has been checked."""

    x: Array
    out: Array
    kind: Kind


def allreduce(
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
) -> Allreduce:
    """Check the arguments; what is wrong with them is told under this name."""
    array = as_array(x)
    result = output_for(array, out)
    if out is not None and same_memory(result.data, array.data):
        array = result
    ops.check_op(op, array.dtype)
    if not isinstance(algorithm, str):
        raise InvalidArgument(
            f"algorithm: got {type(algorithm).__name__}; expected a name"
        )
    if not (wire is None or isinstance(wire, str)):
        raise InvalidArgument(f"wire: got {type(wire).__name__}; expected a name")
    scales = float(prescale), float(postscale)
    count = array.data.size
    asked = (array.dtype, count, op, algorithm, scales, wire, deterministic, array.host)
    if asked not in end.planned:
        end.planned[asked] = planned(end, *asked)
        plain = scales == (1.0, 1.0) and wire is None and not deterministic
        kind, storage = end.planned[asked], array.dtype.storage
        usual = storage.name == array.dtype.name and not end.debug
        if plain and usual and kind.card:
            end.quick[storage, count, op, algorithm] = kind
    return Allreduce(array, result, end.planned[asked])


def planned(
    end: Endpoint,
    dtype: DType,
    count: int,
    op: str,
    algorithm: str,
    scales: tuple[float, float],
    wire: str | None,
    deterministic: bool,
    host: bool,
) -> Kind:
    """Choose the algorithm and plan it."""
    reduction = Reduction.of(
        op, dtype, end.size, wire=wire, scales=scales, deterministic=deterministic
    )
    joined = len(end.topology.nodes) == 1 and end.device.joins(reduction.work)
    choices = [
        select.choose(
            algorithm,
            end.topology,
            select.Call(
                count * reduction.wire.itemsize,
                native=host
                and reduction.wire == dtype
                and end.adds(dtype, reduction.op),
                dtype=dtype_class(reduction.wire.name),
                registered=registered,
                engine=end.alone if host else joined,
            ),
            end.machine,
            table=end.tuned.table if host else None,
            deterministic=deterministic,
        )
        for registered in (False, True)
    ]
    whole = host and end.alone and reduction.wire == dtype and scales[0] == 1.0
    taken = [whole and choice.algorithm == select.SHARED for choice in choices]
    if not any(taken):  # where the arrays lie makes no difference
        choices[1] = choices[0]

    def plan(choice: Choice) -> Plan:
        name, segment, depth = choice
        work = reduction.work
        return end.plan(
            name, "schedule", count, work, segment=segment, depth=depth, host=host
        )

    unregistered, registered = (
        None if by_engine else plan(choice)
        for by_engine, choice in zip(taken, choices, strict=True)
    )
    chosen = " or ".join(dict.fromkeys(map(str, choices)))
    end.tell(f"allreduce of {count * dtype.itemsize} bytes: {chosen}")
    signature = (
        f"allreduce(count={count}, dtype={dtype.name}, op={op}, algorithm={chosen}, "
        f"wire={reduction.wire.name}, prescale={scales[0]}, postscale={scales[1]}"
        f"{'' if host else ', on a device'})"
    )
    code, job, few = digest(signature), None, None
    if any(taken):
        combine = reduction.accumulator()
        job = end.shared.job("allreduce", count, dtype, combine)
        few = end.shared.few(count, dtype, combine) if taken[0] else None
    card = job is not None or (end.alone and choices[0].algorithm == select.NATIVE)
    plans = unregistered, registered
    return Kind(signature, code, reduction, plans, job, few, card)


def perform(end: Endpoint, x: Any, op: str, out: Any, **options: Any) -> Any:
    """Combine on all ranks."""
    call = yield from end.prepared(
        "allreduce", lambda: allreduce(end, x, op, out=out, **options)
    )
    yield from run_allreduce(end, call)
    return call.out if out is None else out


def run_allreduce(end: Endpoint, call: Allreduce) -> Operation:
    """Agree on an allreduce, and carry it out."""
    x, out, kind = call
    if kind.card:
        yield from together(end, kind, x.data, out.data)
        return
    yield from end.agree(kind.signature)
    yield from step_by_step(end, kind.reduction, kind.plans[0], x.data, out.data)


def step_by_step(
    end: Endpoint, reduction: Reduction, plan: Any, x: np.ndarray, out: np.ndarray
) -> Operation:
    """Run the plan of an allreduce on which all ranks have agreed."""
    source = x if reduction.direct else None
    data = out if reduction.direct else reduction.working(x, out)
    yield from end.execute(
        plan, data, reduction.work, reduction.op, reduction.wire, source
    )
    reduction.finish(data, out)


def together(end: Endpoint, kind: Kind, x: np.ndarray, out: np.ndarray) -> Operation:
    """Agree by cards on one node, and reduce flat ``x`` into ``out``."""
    end.begin(kind.signature)
    number = present(end, kind, x, out)
    yield from settle(end, kind, number, x, out)


def at_once(
    end: Endpoint, kind: Kind, x: np.ndarray, out: np.ndarray
) -> Operation | None:
    """Do as `together`, without waiting; return what is left to do after a wait."""
    end.doing = kind.signature
    number, now = present(end, kind, x, out), time.monotonic()
    late = now - end.ended > end.timeout_s
    if late or not end.shared.board.seen(number, kind.code):
        return settle(end, kind, number, x, out)
    rest = carry_out(end, kind, number, x, out)
    if rest is None:
        end.doing, end.ended = "nothing", time.monotonic()
    return rest


def present(end: Endpoint, kind: Kind, x: np.ndarray, out: np.ndarray) -> int:
    """Show the others on a card what this rank was asked to do; return its number."""
    engine, agreement = end.shared, end.agreement
    agreement.number = number = agreement.number + 1
    if kind.few is not None:
        kind.few.show(number, x)
    elif kind.job is not None:
        place, way = engine.memory.place, engine.rings.choose(kind.job.kind, x.nbytes)
        start = place(x)
        engine.board.locate(number, start, start if out is x else place(out), way)
    engine.board.post(number, kind.code)
    return number


def settle(
    end: Endpoint, kind: Kind, number: int, x: np.ndarray, out: np.ndarray
) -> Operation:
    """Wait for the cards of the others, compare, and reduce."""
    board = end.shared.board
    yield from board.posted(number)
    end.heed()
    if not board.agree(number, kind.code):
        end.agreement.explain(kind.signature)
    rest = carry_out(end, kind, number, x, out)
    if rest is not None:
        yield from rest


def carry_out(
    end: Endpoint, kind: Kind, number: int, x: np.ndarray, out: np.ndarray
) -> Operation | None:
    """Do what can be done at once when all have come; return the rest, if any."""
    if kind.few is not None:
        kind.few.combine(number, out)
        return None
    plan = kind.plans[0]
    if kind.job is not None:
        engine = end.shared
        places, goals, way = engine.board.places(number)
        plan = kind.plans[all(places) and all(goals)]
        if plan is None:
            rest: Operation = engine.perform(kind.job, x, out, places, goals, way)
            return rest
    if plan is not None and plan.native and kind.reduction.direct:
        by_library(end, kind.reduction, x, out)
        return None
    return step_by_step(end, kind.reduction, plan, x, out)


def by_library(
    end: Endpoint, reduction: Reduction, x: np.ndarray, out: np.ndarray
) -> None:
    """Have the MPI library reduce; all ranks have come."""
    end.library.allreduce(x, out, reduction.op)
    if reduction.after != 1.0:
        ops.scale(reduction.work, out, reduction.after)
