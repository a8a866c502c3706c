"""Direct: messages of device memory, which a CUDA-aware MPI takes as it is.

    send     kernels |e   MPI sends
    receive  kernels |e   MPI receives   kernels

MPI knows of no streams: the host waits for the event before it hands the memory over,
and what MPI has received is there for all streams.  Only where `collectives.aware`
finds that the library takes device memory; another one would end the process.
"""

from collections.abc import Iterator
from typing import Any

from ..device import Queue, library, reached
from ..scratch import Scratch
from .staged import Steps


class Direct:
    """Messages of one communicator; ``point`` takes device memory."""

    def __init__(self, point: Any, queue: Queue) -> None:
        """Begin without scratch."""
        self.point, self.queue, self.rank = point, queue, point.rank
        self.scratch = Scratch(library().empty)

    def isend(self, data: Any, dst: int, tag: int) -> Steps:
        """Begin to send device memory; kernels queued so far may still write it."""
        return Steps(self.pass_on(self.point.isend, data, dst, tag))

    def irecv(self, data: Any, src: int, tag: int) -> Steps:
        """Begin to receive; kernels queued so far may still use the memory."""
        return Steps(self.pass_on(self.point.irecv, data, src, tag))

    def pass_on(self, begin: Any, data: Any, peer: int, tag: int) -> Iterator[None]:
        """Wait for the kernels before, then for MPI."""
        before = self.queue.record(self.queue.kernels)
        while not reached(before):
            yield
        request = begin(data, peer, tag)
        while not request.Test():
            yield
