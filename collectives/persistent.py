"""Persistent: an allreduce that all ranks agree on once, and run many times."""

from collections.abc import Callable
from typing import Any

from .allreduce import Allreduce, allreduce, run_allreduce, step_by_step
from .endpoint import Endpoint, Operation
from .work import Work


class PersistentAllreduce:
    """An in-place allreduce of one array, agreed on once, run many times.

    Only its first agreement compares arguments: all must run it in the same order.
    """

    def __init__(
        self,
        end: Endpoint,
        x: Any,
        op: str,
        options: dict[str, Any],
        *,
        block: Callable[[Operation, Any], Any],
        start: Callable[[Operation, Any], Work],
    ) -> None:
        """Check the arguments and agree on them.

        ``block`` carries out an operation on an array, ``start`` begins it.
        """
        self._end, self._block, self._start, self.x = end, block, start, x

        def prepare() -> tuple[str, Allreduce]:
            call = allreduce(end, x, op, out=x, **options)
            return call.kind.signature, call

        self.call: Allreduce = block(end.agreed("plan", prepare), x)

    def run(self) -> Any:
        """Reduce the array in place, and return it."""
        self._block(run_planned(self._end, self.call), self.x)
        return self.x

    def start(self) -> Work:
        """Start to reduce the array in place."""
        return self._start(run_planned(self._end, self.call), self.x)


def run_planned(end: Endpoint, call: Allreduce) -> Operation:
    """Carry out an allreduce on which all ranks have agreed some time ago.

    The MPI library's own blocks without a deadline: so all ranks must have come.
    """
    x, out, kind = call
    plan = kind.plans[0]
    if kind.card or plan is None or plan.native:
        yield from run_allreduce(end, call)
        return
    end.doing = f"planned {kind.signature}"
    yield from step_by_step(end, kind.reduction, plan, x.data, out.data)
