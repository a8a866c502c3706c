"""Device side: what an endpoint has for arrays on a GPU, from the first one on.

    messages   of device memory: through the host, or as they are if MPI takes them
    engine     NCCL, for the group calls of a node whose ranks have a GPU each

How they go together is decided with all ranks.  NCCL's kernels wait on the GPU for
their peers, and so may MPI's copies of device memory: at the same time on one GPU they
can wait for each other for ever.  So ``overlap`` is

    staged   at the same time, while MPI is given host memory only
    device   at the same time, whatever MPI is given: only if the libraries allow it
    off      never at the same time: each step ends before the next one begins
"""

import time
from typing import Any

from . import aware, device, kernels
from .arrays import DType
from .device import Queue, reached
from .errors import InvalidArgument, Stalled, UnsupportedArray
from .plan import Plan
from .step import GroupCall

NAME = "a collective on device arrays"  # while which one is not known yet
OVERLAPS = ("staged", "device", "off")


class DeviceSide:
    """The streams, the messages and the group engine of one endpoint's GPU."""

    def __init__(self, end: Any, transport: str, overlap: str) -> None:
        """Begin without a GPU; ``transport`` is one of `aware.CHOICES`."""
        self.end, self.transport, self.overlap = end, transport, overlap
        self.queue: Queue | None = None
        self.messages: Any = None
        self.engine: Any = None
        self.seats: list[Any] | None = None  # every rank's GPU, when they are known

    def steps(self, x: Any, operation: Any, result: list[Any]) -> Any:
        """Return the steps of an operation on ``x``, in order with its GPU's work."""
        end = self.end
        try:
            number = device.number(x)
            if self.queue is None:
                self.queue = Queue(number)
            with self.queue.gpu:  # an event is of the GPU that is current
                came = device.caller(x)
        except RuntimeError as error:  # CUDA's; alone it would leave others waiting
            operation.close()
            return end.guarded(self.failed(error), result)
        except Exception:  # of x: the operation will come upon it, and tell all ranks
            return end.guarded(operation, result)
        return device.Ordered(
            self.queue,
            came,
            self.acquainted(number, operation),
            (x, result),
            guarded=lambda steps: end.guarded(steps, result),
        )

    def failed(self, error: Exception) -> Any:
        """Raise ``error`` where an operation would have begun."""
        self.end.begin(NAME)
        yield from ()
        raise error

    def acquainted(self, number: int, operation: Any) -> Any:
        """Check on which GPU an array lies, and be prepared, before an operation."""
        assert self.queue is not None
        if number != self.queue.number:
            text = (
                f"x lies on GPU {number}, this communicator began on "
                f"{self.queue.number}; one takes arrays of one GPU only"
            )
            operation.close()
            yield from self.end.agree("a device array", UnsupportedArray(text))
        yield from self.prepared()
        return (yield from operation)

    def prepared(self) -> Any:
        """Decide with all ranks, before the first operation, how arrays travel."""
        if self.seats is not None:
            return
        from .transports import nccl, seats
        from .transports.direct import Direct
        from .transports.staged import Staged

        end, queue = self.end, self.queue
        assert queue is not None
        yield from end.prepared(NAME, self.tried)
        yield from end.agree(NAME)
        transport = aware.agreed(end.mpi, self.transport)
        found = end.mpi.allgather(seats.seat(queue.number))
        reason = seats.unusable(found, end.topology)
        several = len(end.topology.nodes) > 1
        if reason is None and several and self.overlap == "staged":
            if self.transport == "device":
                raise InvalidArgument(
                    "gpu_transport='device' with overlap='staged': NCCL joins the GPUs "
                    "of a node, and MPI would be given device memory at the same time; "
                    "take overlap='off', or 'device' where the libraries allow both"
                )
            transport = "staged"
        if self.messages is None:
            kind = Direct if transport == "device" else Staged
            self.messages = kind(end.point, queue)
        if reason is None and self.engine is None:
            self.engine = nccl.Nccl(end.passing(end.private[1]), queue)
        self.seats = found
        end.tell(f"GPUs of a node: {reason or self.engine}")

    def tried(self) -> None:
        """Make sure that the GPU runs our kernels."""
        assert self.queue is not None
        with self.queue.gpu, device.working_on(self.queue.kernels):
            kernels.tried()

    def begun(self, number: int) -> Any:
        """Begin on GPU ``number``, if on none so far; all ranks come together."""
        if self.queue is None:
            self.queue = Queue(number)
        yield from self.prepared()

    def empty(self, nbytes: int) -> Any:
        """Return new bytes of device memory; all ranks have begun."""
        assert self.queue is not None
        found = None if self.engine is None else self.engine.empty(nbytes)
        if found is not None:
            return found
        with self.queue.gpu:
            return device.allocate(nbytes)

    def joins(self, dtype: DType) -> bool:
        """Say whether NCCL joins the GPUs of nodes, and has the type."""
        return self.engine is not None and bool(self.engine.supports(dtype))

    def in_turn(self, plan: Plan) -> Plan:
        """Return a plan that keeps NCCL and messages apart, if they have to be."""
        calls = any(isinstance(task.step, GroupCall) for task in plan.tasks)
        return plan._replace(depth=1) if self.overlap == "off" and calls else plan

    def abort(self) -> None:
        """Give up what NCCL has under way: a peer does not come any more."""
        if self.engine is not None:
            self.engine.abort()

    def close(self) -> None:
        """Wait for our streams, then free what they used.

        Raises:
            Stalled: they do not come to an end.
            RuntimeError: CUDA's error.
        """
        if self.queue is not None:
            end = time.monotonic() + self.end.timeout_s
            with self.queue.gpu:
                last = [self.queue.record(stream) for stream in self.queue.streams]
                while not all(map(reached, last)):
                    if time.monotonic() > end:
                        raise Stalled(
                            f"close(): GPU {self.queue.number} has not done within "
                            f"{self.end.timeout_s:g} s what it was given: a kernel "
                            "does not end, or waits for another rank"
                        )
                    time.sleep(1e-4)
        if self.engine is not None:
            self.engine.close()


def checked(gpu_transport: str, overlap: str) -> tuple[str, str]:
    """Check how device arrays shall travel.

    Raises:
        InvalidArgument: not one of the choices.
    """
    for name, asked, choices in (
        ("gpu_transport", gpu_transport, aware.CHOICES),
        ("overlap", overlap, OVERLAPS),
    ):
        if asked not in choices:
            raise InvalidArgument(f"{name}={asked!r}: choose from {', '.join(choices)}")
    return gpu_transport, overlap
