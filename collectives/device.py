"""Device: arrays in the memory of a GPU, and the order of what is done to them.

    caller's stream   ... x written |e0            then, on any stream: the result
    our stream                      `-> kernels |e1
    host                                        `- seen: the operation has ended

Arrays are CuPy's, or CUDA tensors of torch, which share their memory with a CuPy array.
An operation waits for what the caller's stream has been given before the call, and ends
when the host has seen its last kernel end: so nobody has to wait for our streams.
Nothing here is imported, nor any CUDA library, before a device array comes along.
"""

import sys
import threading
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from .errors import UnsupportedArray

EXTRAS = (
    "pip install 'mpi-collectives[cuda12]', or [cuda13], whichever the driver supports"
)


def on_device(x: Any) -> bool:
    """Say whether ``x`` lies in the memory of a GPU."""
    return hasattr(x, "__cuda_array_interface__")


def library() -> Any:
    """Return CuPy.

    Raises:
        UnsupportedArray: it is not installed, or cannot be used.
    """
    try:
        import cupy
    except ImportError as error:
        raise UnsupportedArray(
            f"device arrays need CuPy, which cannot be imported ({error}): {EXTRAS}"
        ) from None
    return cupy


def array(x: Any) -> Any:
    """Return ``x`` as a CuPy array that shares its memory."""
    cupy = library()
    return x if isinstance(x, cupy.ndarray) else cupy.asarray(x)


def flat(x: Any, storage: Any) -> Any:
    """Return contiguous ``x`` as flat ``storage`` that shares its memory."""
    return array(x).reshape(-1).view(storage)


class Caller(NamedTuple):
    """The stream on which the caller works, and an event at its end."""

    stream: Any
    ready: Any


def caller(x: Any) -> Caller:
    """Mark where the caller's stream is now; called on the caller's thread."""
    cuda = library().cuda
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        current = torch.cuda.current_stream(x.device)
        stream = cuda.ExternalStream(current.cuda_stream)
    else:
        stream = cuda.get_current_stream()
    return Caller(stream, stream.record(cuda.Event(disable_timing=True)))


def number(x: Any) -> int:
    """Return which of this process's GPUs ``x`` lies on."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return int(x.device.index)
    return int(array(x).device.id)


class Queue:
    """One communicator's streams on its GPU: kernels, and copies each way."""

    def __init__(self, number: int = 0) -> None:
        """Make the streams of GPU ``number``."""
        self.number, self.cuda = number, library().cuda
        with self.gpu:
            self.kernels, self.down, self.up = (
                self.cuda.Stream(non_blocking=True) for _ in range(3)
            )

    @property
    def gpu(self) -> Any:
        """A context in which the GPU is the current one of this thread."""
        return self.cuda.Device(self.number)

    def record(self, stream: Any) -> Any:
        """Return an event that comes when ``stream`` has done all it has now."""
        return stream.record(self.cuda.Event(disable_timing=True))


HERE = threading.local()  # .ordered: the operation that this thread carries on


def empty(count: int, storage: Any) -> Any:
    """Return new flat memory, which will belong to the caller of the operation.

    When he drops it, the pool hands it out to his stream again; so it is taken as his.
    What his stream still does to it, from before, comes first.
    """
    now: Ordered = HERE.ordered
    with now.came.stream:
        memory = library().empty(count, storage)
    now.queue.kernels.wait_event(now.queue.record(now.came.stream))
    return memory


class Ordered:
    """The steps of an operation, each carried out with our stream as current one.

    They begin after ``came.ready`` and end when the kernels have.
    """

    def __init__(self, queue: Queue, came: Caller, steps: Any) -> None:
        """Nothing is done before the first step."""
        self.queue, self.came = queue, came
        self.steps = self.surrounded(queue, came, steps)

    def __iter__(self) -> Iterator[int]:
        """Return the steps."""
        return self

    def __next__(self) -> int:
        """Do a step."""
        HERE.ordered = self
        with self.queue.gpu, self.queue.kernels:
            return next(self.steps)

    def close(self) -> None:
        """Give the operation up."""
        self.steps.close()

    def surrounded(
        self, queue: Queue, came: Caller, steps: Any
    ) -> Generator[int, None, None]:
        """Wait for the caller's stream before, and for ours afterwards."""
        queue.kernels.wait_event(came.ready)
        yield from steps
        ended = queue.record(queue.kernels)
        while not ended.done:
            yield 0
