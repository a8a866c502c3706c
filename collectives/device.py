"""Device: arrays in the memory of a GPU, and the order of what is done to them.

    caller's stream   ... x written |e0            ,-> what uses the result
    our stream                      `-> kernels |e1

Arrays are CuPy's, or CUDA tensors of torch, which share their memory with a CuPy array.
An operation waits for what the caller's stream has been given before the call.  It has
ended when its last kernel is queued; whoever takes the result has his current stream
wait for that kernel, and the host goes on.  So it is with torch.distributed over NCCL.
Nothing here is imported, nor any CUDA library, before a device array comes along.
"""

import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .errors import UnsupportedArray

Steps = Generator[int, None, Any]

NOT_READY = 600  # cudaErrorNotReady
EXTRAS = (
    "pip install 'mpi-collectives[cuda12]', or [cuda13], whichever the driver supports"
)


def on_device(x: Any) -> bool:
    """Say whether ``x`` lies in the memory of a GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return bool(x.is_cuda)  # the interface raises of one that requires grad
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
    if isinstance(x, cupy.ndarray):
        return x
    with cupy.cuda.Device(number(x)):  # CuPy copies what lies on another one
        return cupy.asarray(x)


def flat(x: Any, storage: Any) -> Any:
    """Return contiguous ``x`` as flat ``storage`` that shares its memory."""
    return array(x).reshape(-1).view(storage)


class Caller(NamedTuple):
    """The stream on which the caller works, an event at its end, and how to ask again.

    ``current()`` returns the stream on which the calling thread works then.
    """

    stream: Any
    ready: Any
    current: Callable[[], Any]


def caller(x: Any) -> Caller:
    """Mark where the caller's stream is now; called on the caller's thread."""
    cuda = library().cuda
    torch = sys.modules.get("torch")
    current = cuda.get_current_stream
    if torch is not None and isinstance(x, torch.Tensor):
        current = partial(of_torch, torch, x.device)
    stream = current()
    return Caller(stream, stream.record(cuda.Event(disable_timing=True)), current)


def of_torch(torch: Any, where: Any) -> Any:
    """Return torch's current stream on a device, as a stream of CuPy."""
    cuda, foreign = library().cuda, Foreign(torch.cuda.current_stream(where))
    if hasattr(cuda.Stream, "from_external"):
        return cuda.Stream.from_external(foreign)
    return cuda.ExternalStream(foreign.stream.cuda_stream)  # before CuPy 14


def to_torch(torch: Any, data: Any, where: Any) -> Any:
    """Return device bytes as a tensor that shares them, ready or not.

    CuPy has torch's current stream wait for its own one, unless they are the same.
    """
    with data.device, working_on(of_torch(torch, where)):
        return torch.from_dlpack(data)


@contextmanager
def working_on(stream: Any) -> Iterator[None]:
    """Have ``stream`` be the current one of this thread, on the current GPU.

    ``with stream`` would leave another one behind than it found, where the caller has
    chosen his by ``use()``: CuPy keeps no account of that.
    """
    before = library().cuda.get_current_stream()
    stream.use()
    try:
        yield
    finally:
        before.use()


class Foreign(NamedTuple):
    """A stream of torch, by the protocol that CuPy knows; torch's own is too new."""

    stream: Any

    def __cuda_stream__(self) -> tuple[int, int]:
        """Return the version of the protocol and the address."""
        return 0, self.stream.cuda_stream


def number(x: Any) -> int:
    """Return which of this process's GPUs ``x`` lies on."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return int(x.device.index)
    cupy = library()
    if isinstance(x, cupy.ndarray):
        return int(x.device.id)
    address, _ = x.__cuda_array_interface__["data"]
    if not address:  # it has no elements
        return int(cupy.cuda.Device().id)
    return int(cupy.cuda.runtime.pointerGetAttributes(address).device)


def current() -> int:
    """Return the number of this thread's current GPU.

    Raises:
        UnsupportedArray: it has none, or CuPy is missing.
    """
    cuda = library().cuda
    try:
        return int(cuda.Device().id)
    except RuntimeError as error:
        raise UnsupportedArray(f"there is no GPU to use: {error}") from None


def reached(event: Any) -> bool:
    """Say whether an event has come.

    CuPy's ``Event.done`` is False for ever after an error of CUDA, which a kernel of
    anybody in this process may have made.

    Raises:
        RuntimeError: CUDA's error.
    """
    runtime = library().cuda.runtime
    status = runtime.eventQuery(event.ptr)
    if status not in (0, NOT_READY):
        raise RuntimeError(
            f"CUDA: {runtime.CUDARuntimeError(status)}; this process cannot use its "
            "GPU any more: start it again (CUDA_LAUNCH_BLOCKING=1 shows what failed)"
        )
    return bool(status == 0)


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
    def streams(self) -> tuple[Any, ...]:
        """All of them."""
        return self.kernels, self.down, self.up

    @property
    def gpu(self) -> Any:
        """A context in which the GPU is the current one of this thread."""
        return self.cuda.Device(self.number)

    def record(self, stream: Any) -> Any:
        """Return an event that comes when ``stream`` has done all it has now."""
        return stream.record(self.cuda.Event(disable_timing=True))


def allocate(nbytes: int) -> Any:
    """Return new bytes of the current GPU that come from no pool.

    What was done before to memory of a pool may still be under way on other streams.
    """
    cupy = library()
    memory = cupy.cuda.Memory(nbytes)
    return cupy.ndarray((nbytes,), np.uint8, cupy.cuda.MemoryPointer(memory, 0))


HERE = threading.local()  # .ordered: the operation that this thread carries on


def empty(count: int, storage: Any) -> Any:
    """Return new flat memory, which will belong to the caller of the operation.

    When he drops it, the pool hands it out to his stream again; so it is taken as his.
    What his stream still does to it, from before, comes first.
    """
    now: Ordered = HERE.ordered
    with working_on(now.came.stream):
        memory = library().empty(count, storage)
    now.queue.kernels.wait_event(now.queue.record(now.came.stream))
    now.held.append(memory)
    return memory


class Ordered:
    """The steps of an operation, each carried out with our stream as current one.

    They begin after ``came.ready``.  What the last kernels use is held until
    `hand_over`: dropped before, it could be given to somebody who does not wait.
    """

    finalizing = staticmethod(sys.is_finalizing)  # modules may be gone by then

    def __init__(
        self,
        queue: Queue,
        came: Caller,
        steps: Any,
        x: Any = None,
        *,
        guarded: Callable[[Steps], Steps] = iter,
    ) -> None:
        """Nothing is done before the first step; ``guarded`` sees all errors."""
        self.queue, self.came, self.held = queue, came, [x]
        self.ended: Any = None  # an event after the last kernel
        self.steps = guarded(self.on_our_stream(self.surrounded(steps)))

    def __iter__(self) -> Iterator[int]:
        """Return the steps."""
        return self

    def __next__(self) -> int:
        """Do a step."""
        return next(self.steps)

    def close(self) -> None:
        """Give the operation up."""
        self.steps.close()

    def on_our_stream(self, steps: Steps) -> Steps:
        """Carry out each step on our stream; leave the thread as it was."""
        with closing(steps):
            while True:
                HERE.ordered = self
                with self.queue.gpu, working_on(self.queue.kernels):
                    try:
                        done = next(steps)
                    except StopIteration as end:
                        return end.value
                yield done

    def surrounded(self, steps: Any) -> Steps:
        """Wait for the caller's stream before, and mark the end."""
        self.queue.kernels.wait_event(self.came.ready)
        found = yield from steps
        self.ended = self.queue.record(self.queue.kernels)
        return found

    def hand_over(self) -> None:
        """Have this thread's current stream wait for the result, and the caller's."""
        if self.ended is not None:
            with self.queue.gpu:
                self.came.current().wait_event(self.ended)
            self.let_go()

    def let_go(self) -> None:
        """Drop what was held: it goes back to the caller's stream, which waits."""
        if self.held and self.ended is not None:
            with self.queue.gpu:  # each has a default stream, and all have address 0
                self.came.stream.wait_event(self.ended)
            self.held.clear()

    def __del__(self) -> None:
        """Let go of what nobody has taken; at the end of the process all is over."""
        if not self.finalizing():
            with suppress(RuntimeError):  # CUDA's error: nobody would hear of it here
                self.let_go()


def hand_over(steps: Any) -> None:
    """Hand over what an operation has done, if it was on device arrays."""
    if type(steps) is Ordered:
        steps.hand_over()
