"""Place: where buffers lie, on the host or on a GPU, and when a call has ended there.

On the host a call has ended when it returns.  On a GPU it returns when its last kernel
is queued, and has ended when the current stream has come to an event behind that:

    host     barrier |t0  call returns          event seen |t1     seconds = t1 - t0
    stream      idle |e0     ...      kernels |e1                  device  = e1 - e0

``seconds`` is what a user waits for the result, as on the host; ``device`` leaves out
how long the host takes to see the end, and is what the stream was held up.  Streams are
those of CuPy and torch where nobody chose another one: the same.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from collectives import device

NOT_KNOWN = float("nan")


class Times(NamedTuple):
    """How long a call took: by the host's clock, and between two events."""

    seconds: float
    device: float = NOT_KNOWN


class Host:
    """Buffers are NumPy arrays."""

    empty = staticmethod(np.empty)

    def put(self, data: np.ndarray, buffer: Any) -> None:
        """Copy from NumPy's memory."""
        buffer[:] = data

    def get(self, buffer: Any) -> np.ndarray:
        """Return what a buffer holds."""
        found: np.ndarray = buffer
        return found

    def timed(self, meet: Callable[[], Any], call: Callable[[], Any]) -> Times:
        """Call, after all have met."""
        meet()
        before = time.perf_counter()
        call()
        return Times(time.perf_counter() - before)


class Gpu:
    """Buffers are CuPy arrays on the current GPU."""

    def __init__(self, mpi: Any) -> None:
        """``mpi`` is looked after while an event is waited for."""
        import cupy

        self.mpi, self.cuda, self.empty = mpi, cupy.cuda, cupy.empty

    def put(self, data: np.ndarray, buffer: Any) -> None:
        """Copy from NumPy's memory."""
        buffer.set(data)

    def get(self, buffer: Any) -> np.ndarray:
        """Return what a buffer holds, in new memory of the host."""
        found: np.ndarray = buffer.get()
        return found

    def timed(self, meet: Callable[[], Any], call: Callable[[], Any]) -> Times:
        """Call, after the stream has nothing left to do and all have met."""
        stream = self.cuda.get_current_stream()
        idle, begins, ends = (self.cuda.Event() for _ in range(3))
        idle.record(stream)
        self.wait(idle)
        meet()
        before = time.perf_counter()
        begins.record(stream)
        call()
        ends.record(stream)
        self.wait(ends)
        seconds = time.perf_counter() - before
        return Times(seconds, self.cuda.get_elapsed_time(begins, ends) / 1e3)

    def wait(self, event: Any) -> None:
        """Wait for an event.

        A rank that only waited for its GPU would not serve its MPI library, on which
        another rank's GPU may wait.

        Raises:
            RuntimeError: CUDA's error.
        """
        while not device.reached(event):
            self.mpi.Iprobe()


HOST = Host()
