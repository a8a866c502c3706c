"""Staged: messages of device memory, through page-locked memory of the host.

    send     kernels |e   copy down |e   MPI sends      slot is free
    receive  MPI receives   copy up |e   kernels wait   slot is free

Each copy is on a stream of its own, and several messages are on their way: so a copy of
one overlaps the wire time of another and the additions of a third.  The host only asks
whether an event has come or a request is complete; it never waits for the device.  MPI
sees host memory, whatever it knows of GPUs.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..device import Queue, library, reached
from ..scratch import Scratch


class Staged:
    """Messages of one communicator whose arrays lie on a GPU.

    ``point`` sends and receives host memory.
    """

    def __init__(self, point: Any, queue: Queue) -> None:
        """Begin without slots."""
        self.point, self.queue, self.rank = point, queue, point.rank
        self.scratch = Scratch(library().empty)
        self.sending, self.receiving = Slots(), Slots()

    def isend(self, data: Any, dst: int, tag: int) -> "Steps":
        """Begin to send device memory; kernels queued so far may still write it."""
        return Steps(self.send(data, dst, tag))

    def irecv(self, data: Any, src: int, tag: int) -> "Steps":
        """Begin to receive into device memory; complete when kernels may read it."""
        return Steps(self.receive(data, src, tag))

    def send(self, data: Any, dst: int, tag: int) -> Iterator[None]:
        """Copy down, then send."""
        queue, slots = self.queue, self.sending
        queue.down.wait_event(queue.record(queue.kernels))
        while (slot := slots.take(data.nbytes)) is None:
            yield
        host = slot[: data.nbytes]
        data.data.copy_to_host_async(pointer(host), host.nbytes, queue.down)
        copied = queue.record(queue.down)
        while not reached(copied):
            yield
        request = self.point.isend(host, dst, tag)
        while not request.Test():
            yield
        slots.free.append(slot)

    def receive(self, data: Any, src: int, tag: int) -> Iterator[None]:
        """Receive, then copy up."""
        queue, slots = self.queue, self.receiving
        queue.up.wait_event(queue.record(queue.kernels))  # they may still use ``data``
        while (slot := slots.take(data.nbytes)) is None:
            yield
        host = slot[: data.nbytes]
        request = self.point.irecv(host, src, tag)
        while not request.Test():
            yield
        data.data.copy_from_host_async(pointer(host), host.nbytes, queue.up)
        copied = queue.record(queue.up)
        queue.kernels.wait_event(copied)
        slots.copying.append((copied, slot))


class Steps:
    """A message under way, as MPI's requests are; ``Test()`` carries it on."""

    def __init__(self, steps: Iterator[None]) -> None:
        """Do what can be done at once."""
        self.steps, self.complete = steps, False
        self.Test()

    def Test(self) -> bool:  # noqa: N802, as of an MPI request
        """Do what can be done; say whether the message has been sent, or is there."""
        if not self.complete:
            self.complete = next(self.steps, self) is self
        return self.complete


class Slots:
    """Page-locked buffers of one direction, as many as messages are under way."""

    def __init__(self) -> None:
        """Begin with none."""
        self.free: list[np.ndarray] = []
        self.copying: list[tuple[Any, np.ndarray]] = []  # until an event

    def take(self, nbytes: int) -> np.ndarray | None:
        """Return a slot of ``nbytes`` or more; None if one will soon be free."""
        while self.copying and reached(self.copying[0][0]):
            self.free.append(self.copying.pop(0)[1])
        if self.free:
            slot = self.free.pop()
            return slot if slot.nbytes >= nbytes else locked(nbytes)
        return None if self.copying else locked(nbytes)


def locked(nbytes: int) -> np.ndarray:
    """Return new page-locked bytes."""
    memory = library().cuda.alloc_pinned_memory(nbytes)
    return np.frombuffer(memory, np.uint8, nbytes)


def pointer(host: np.ndarray) -> ctypes.c_void_p:
    """Return the address as CuPy takes it."""
    return ctypes.c_void_p(host.ctypes.data)
