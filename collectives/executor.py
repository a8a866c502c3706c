"""Executor: run one rank's plan on real memory, several steps in flight.

`execute` is an iterator that does whatever can be done and yields when it can only
wait; `Patience` decides how.  So the same code runs on the
caller's thread, on a communication thread, or a little in every ``test()``.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .arrays import DType
from .ops import combine, convert
from .plan import Plan, Task
from .step import Exchange, GroupCall


class Flight:
    """One step on its way."""

    __slots__ = ("arrived", "box", "index", "outbox", "receiving", "sending", "task")

    def __init__(self, index: int, task: Task) -> None:
        """Begin with nothing done."""
        self.index, self.task = index, task
        self.sending: Any = None  # request, then False when it has left
        self.receiving: Any = None  # request, then False when it has arrived
        self.outbox: np.ndarray | None = None  # what is sent, where it was converted
        self.box: np.ndarray | None = None  # scratch, where it is not received in place
        self.arrived = False

    def __str__(self) -> str:
        """Say what the step waits for."""
        step = self.task.step
        if not isinstance(step, Exchange):
            return f"step {self.index + 1} ({step.kind})"
        waits = []
        if step.src is not None and not self.arrived:
            waits.append(f"rank {step.src} to send")
        if step.dst is not None and self.sending is not False:
            waits.append(f"rank {step.dst} to receive")
        return f"step {self.index + 1} for {' and '.join(waits) or 'its turn'}"


class Execution:
    """One run of a plan on flat storage ``data``.

    Messages travel as ``wire``; where that is narrower than ``dtype``, what is sent is
    rounded in the sender's memory too, so that all ranks end with the same bits.
    """

    def __init__(
        self,
        plan: Plan,
        data: np.ndarray,
        dtype: DType,
        op: str,
        point: Any,
        *,
        wire: DType | None = None,
        engine: Any = None,
    ) -> None:
        """Prepare; nothing is sent before the first iteration."""
        self.plan, self.data, self.dtype, self.op = plan, data, dtype, op
        self.wire = dtype if wire is None else wire
        self.point, self.engine, self.rank = point, engine, point.rank
        self.flights: list[Flight] = []
        self.ended = bytearray(len(plan.tasks))
        self.boxes: list[np.ndarray] = []

    def position(self) -> str:
        """Say where this rank is, for a report of a stall."""
        waiting = "; ".join(str(flight) for flight in self.flights)
        return f"{sum(self.ended)} of {len(self.ended)} steps done, waits in {waiting}"

    def __iter__(self) -> Iterator[int]:
        """Run to the end; when there is only to wait, yield how much has been done."""
        tasks, flights = self.plan.tasks, self.flights
        cursor = done = 0
        while cursor < len(tasks) or flights:
            while cursor < len(tasks) and len(flights) < self.plan.depth:
                flights.append(Flight(cursor, tasks[cursor]))
                cursor += 1
            moved = sum([self.advance(flight) for flight in flights])
            flights[:] = [f for f in flights if not self.ended[f.index]]
            if moved == 0:
                yield done
            done += moved

    def advance(self, flight: Flight) -> bool:
        """Do what one step allows; say whether anything happened."""
        step = flight.task.step
        if not isinstance(step, Exchange):
            return self.call(flight, step)
        moved = False
        if step.src is not None and not flight.arrived:
            moved = self.receive(flight, step)
        if step.dst is not None and flight.sending is not False:
            moved = self.send(flight, step) or moved
        if flight.arrived and flight.receiving is not False:
            moved = self.apply(flight, step) or moved
        received = step.src is None or flight.receiving is False
        if received and (step.dst is None or flight.sending is False):
            self.ended[flight.index] = 1
        return moved

    def clear(self, earlier: tuple[int, ...]) -> bool:
        """Say whether all earlier steps have ended."""
        ended = self.ended
        return all(ended[i] for i in earlier)

    def receive(self, flight: Flight, step: Exchange) -> bool:
        """Post the receive, as early as its memory is free; note its end."""
        if flight.receiving is not None:
            flight.arrived = flight.receiving.Test()
            return flight.arrived
        if step.reduce or self.wire is not self.dtype:
            flight.box = self.boxes.pop() if self.boxes else self.new_box()
            target = flight.box[: step.recv.size]
        elif self.writable(flight):
            target = self.data[step.recv.start : step.recv.stop]
        else:
            return False
        flight.receiving = self.point.irecv(target, step.src, flight.task.recv_tag)
        return True

    def new_box(self) -> np.ndarray:
        """Return scratch for the largest message of the plan."""
        return np.empty(self.plan.scratch, self.wire.storage)

    def writable(self, flight: Flight) -> bool:
        """Say whether nobody needs the old elements any more."""
        task = flight.task
        if task.self_overlap and flight.sending is not False:
            return False
        return self.clear(task.waits.to_write)

    def send(self, flight: Flight, step: Exchange) -> bool:
        """Start the send when its elements are final; note its end."""
        if flight.sending is not None:
            if flight.sending.Test():
                flight.sending, flight.outbox = False, None
                return True
            return False
        if not self.clear(flight.task.waits.to_read):
            return False
        data = self.data[step.send.start : step.send.stop]
        if self.wire is not self.dtype:
            flight.outbox = np.empty(step.send.size, self.wire.storage)
            convert(self.dtype, data, self.wire, flight.outbox)
            convert(self.wire, flight.outbox, self.dtype, data)
            data = flight.outbox
        flight.sending = self.point.isend(data, step.dst, flight.task.send_tag)
        return True

    def apply(self, flight: Flight, step: Exchange) -> bool:
        """Combine or copy what has arrived, once earlier steps allow it."""
        box = flight.box
        if box is None:
            flight.receiving = False
            return True
        if not self.writable(flight):
            return False
        target, data = self.data[step.recv.start : step.recv.stop], box
        data = data[: target.size]
        if not step.reduce:
            convert(self.wire, data, self.dtype, target)
        else:
            if self.wire is not self.dtype:
                data = np.empty(target.size, self.dtype.storage)
                convert(self.wire, box[: target.size], self.dtype, data)
            # Where both sides combine, both put the lower rank's operand first.
            lower = step.src is not None and step.src < self.rank
            combine(self.op, self.dtype, target, data, first=lower)
        self.boxes.append(box)
        flight.receiving, flight.box = False, None
        return True

    def call(self, flight: Flight, step: GroupCall) -> bool:
        """Start a group call on the engine, and note its end."""
        wait = flight.task.waits
        if flight.receiving is None:
            if not (self.clear(wait.to_read) and self.clear(wait.to_write)):
                return False
            view = self.data[step.chunk.start : step.chunk.stop]
            flight.receiving = self.engine.start(step, view, self.dtype, self.op)
        if not flight.receiving.Test():
            return False
        self.ended[flight.index] = 1
        return True
