"""Executor: run one rank's plan on real memory, several steps in flight.

An `Execution` is iterated: it does whatever can be done and yields when it can only
wait; `Patience` decides how.  So the same code runs on the caller's thread, on a
communication thread, or a little in every ``test()``.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .arrays import DType
from .ops import combine, combine_wire, convert, round_both
from .plan import Plan, Task
from .step import Exchange, GroupCall

ARRIVED = True  # stands for the request of what has come but cannot be applied yet


class Execution:
    """One run of a plan on flat storage ``data``.

    ``source`` has the input, where that is not in ``data`` yet: steps take from there
    what no step has written before.  Messages travel as ``wire``; where that is not
    ``dtype``, what is sent is rounded in ``data`` too, so that all ranks end with the
    same bits, and the input has to be there.
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
        source: np.ndarray | None = None,
        engine: Any = None,
    ) -> None:
        """Prepare; nothing is sent before the first iteration."""
        self.plan, self.data, self.dtype, self.op = plan, data, dtype, op
        self.source = data if source is None else source
        self.wire = dtype if wire is None else wire
        self.converts = self.wire != dtype
        self.point, self.engine, self.rank = point, engine, point.rank
        self.flights: list[int] = []  # the steps on their way, in program order
        self.started = 0
        # Of every step: the requests of its two halves, and whether these are over.
        self.sends: list[Any] = [None] * len(plan.tasks)
        self.receives = self.sends.copy()
        self.sent, self.written = bytearray(plan.silent), bytearray(plan.deaf)
        # Boxes of steps on their way: what is combined, and what is sent converted.
        self.boxes: dict[int, np.ndarray] = {}
        self.outboxes: dict[int, np.ndarray] = {}
        self.spare: list[np.ndarray] = []
        self.made = 0

    def __iter__(self) -> Iterator[int]:
        """Run to the end; when there is only to wait, yield how much has been done."""
        copies = self.plan.copies
        if copies and self.source is not self.data:
            for start, stop in copies:
                self.data[start:stop] = self.source[start:stop]
        tasks, depth, flights = self.plan.tasks, self.plan.depth, self.flights
        done = 0
        while True:
            while len(flights) < depth and self.started < len(tasks):
                flights.append(self.started)
                self.started += 1
            if not flights:
                return
            moved = self.sweep(tasks, flights)
            if not moved:
                yield done + (0 if self.engine is None else self.engine.ticks)
            done += moved

    def sweep(self, tasks: tuple[Task, ...], flights: list[int]) -> int:
        """Do what the steps on their way allow; return how much that was.

        A half of a step has no request, then one, and then is over.
        """
        sends, receives = self.sends, self.receives
        sent, written = self.sent, self.written
        moved = over = 0
        for i in flights:
            if not written[i]:
                request = receives[i]
                if request is None:
                    moved += self.receive(i, tasks[i])
                elif request is ARRIVED or request.Test():
                    moved += self.take(i, tasks[i])
            if not sent[i]:
                request = sends[i]
                if request is None:
                    moved += self.send(i, tasks[i])
                elif request.Test():
                    sent[i] = 1
                    moved += 1
            over += sent[i] and written[i]
        if over:
            flights[:] = [i for i in flights if not (sent[i] and written[i])]
        return moved

    def receive(self, i: int, task: Task) -> bool:
        """Post the receive, or start the group call, as early as its memory is free."""
        step = task.step
        if isinstance(step, GroupCall):
            return self.call(i, task, step)
        start, stop = step.recv
        if step.reduce or self.converts:
            self.boxes[i] = self.spare.pop() if self.spare else self.new_box()
            target = self.boxes[i][: stop - start]
        elif self.writable(i, task):
            target = self.data[start:stop]
        else:
            return False
        self.receives[i] = self.point.irecv(target, step.src, task.recv_tag)
        return True

    def call(self, i: int, task: Task, step: GroupCall) -> bool:
        """Start a group call on the engine: one at a time, in program order.

        Each waits for the one before as for a step whose elements it needs.
        """
        if not (self.readable(task) and self.writable(i, task)):
            return False
        view = self.data[step.chunk.start : step.chunk.stop]
        self.receives[i] = self.engine.start(step, view, self.dtype, self.op)
        return True

    def take(self, i: int, task: Task) -> bool:
        """Apply what has arrived, once earlier steps allow it."""
        new, self.receives[i] = self.receives[i] is not ARRIVED, ARRIVED
        box = self.boxes.get(i)
        if box is not None:
            if not self.writable(i, task):
                return new
            self.apply(task, box)
            self.spare.append(self.boxes.pop(i))
        self.written[i] = 1
        return True

    def apply(self, task: Task, box: np.ndarray) -> None:
        """Combine or copy what is in a box."""
        step = task.step
        assert isinstance(step, Exchange) and step.src is not None
        start, stop = step.recv
        target, arrived = self.data[start:stop], box[: stop - start]
        first = step.src < self.rank  # so both sides combine in the same order
        if not step.reduce:
            convert(self.wire, arrived, self.dtype, target)
        elif not self.converts:
            old = self.source[start:stop] if task.fresh_recv else target
            combine(self.op, self.dtype, target, arrived, first=first, old=old)
        else:
            combine_wire(
                self.op,
                self.dtype,
                target,
                self.wire,
                arrived,
                first=first,
                scratch=self.point.scratch,
            )

    def send(self, i: int, task: Task) -> bool:
        """Start the send when its elements are final."""
        if not self.readable(task):
            return False
        step = task.step
        assert isinstance(step, Exchange)
        start, stop = step.send
        data = (self.source if task.fresh_send else self.data)[start:stop]
        if self.converts:
            data = self.rounded(i, data)
        self.sends[i] = self.point.isend(data, step.dst, task.send_tag)
        return True

    def rounded(self, i: int, data: np.ndarray) -> np.ndarray:
        """Return ``data`` as it travels, and round it where it is."""
        for left in [j for j in self.outboxes if self.sent[j]]:
            self.spare.append(self.outboxes.pop(left))
        self.outboxes[i] = self.spare.pop() if self.spare else self.new_box()
        outgoing = self.outboxes[i][: data.size]
        round_both(self.dtype, data, self.wire, outgoing)
        return outgoing

    def readable(self, task: Task) -> bool:
        """Say whether what a step sends is final."""
        for earlier in task.waits.to_read:  # all() would take five times as long
            if not self.written[earlier]:
                return False
        return True

    def writable(self, i: int, task: Task) -> bool:
        """Say whether nobody needs any more what a step overwrites."""
        for earlier in task.waits.to_write:
            if not self.written[earlier]:
                return False
        for earlier in task.waits.to_free:
            if not self.sent[earlier]:
                return False
        return not task.self_overlap or self.sent[i] == 1

    def new_box(self) -> np.ndarray:
        """Return memory for the largest message of the plan, kept for the next run."""
        self.made += 1
        scratch, storage = self.point.scratch, self.wire.storage
        box: np.ndarray = scratch.box("box", self.made, self.plan.largest, storage)
        return box

    def position(self) -> str:
        """Say where this rank is, for a report of a stall."""
        waiting = "; ".join(map(self.waiting, self.flights))
        done = self.started - len(self.flights)
        return f"{done} of {len(self.plan.tasks)} steps done, waits in {waiting}"

    def waiting(self, i: int) -> str:
        """Say what a step waits for."""
        step, waits = self.plan.tasks[i].step, []
        if isinstance(step, GroupCall):
            return f"step {i + 1} ({step.kind})"
        if not self.written[i] and self.receives[i] is not ARRIVED:
            waits.append(f"rank {step.src} to send")
        if not self.sent[i]:
            waits.append(f"rank {step.dst} to receive")
        return f"step {i + 1} for {' and '.join(waits) or 'its turn'}"
