"""Paths from a GPU: its link to the host, the wire, and messages that take both.

    pcie     GPU <-> host: down, up, and both at once, page-locked memory; down and up
             of ordinary (pageable) memory, which keep the calling thread
    wire     host -> host, to the next rank while the one before sends here: a message
             at a time, or segments of which some are under way
    staged   GPU -> host -> host -> GPU, the same exchange as an allgather of our ring,
             and a whole allreduce of the ring, with its additions

Rates are those of one direction of one rank, while all ranks do the same.  What is
staged cannot be faster than the slower one of both links, each at its best.  The links
of the GPU are timed between events, without the call's own time; the rest until the
result is there.
"""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from collectives import Communicator

from .device_report import Rate
from .measure import Entry, race

SEGMENT = 1 << 20  # bytes
UNDER_WAY = 4  # segments
GOAL = 0.85  # of the slower link
LINKS = "down", "up", "both ways", "down, pageable", "up, pageable"
WIRES = "message", "segments"


def rates(
    nbytes: int, options: Any, comm: Communicator, mpi: Any, place: Any
) -> list[Rate]:
    """Measure all paths with arrays of ``nbytes``, in turn, alike on all ranks."""
    x, y = (place.empty(nbytes // 4, np.dtype(np.float32)) for _ in range(2))
    x[:] = np.float32(1)
    y[:] = np.float32(1)
    locked = [page_locked(place.cuda, nbytes) for _ in range(2)]
    calls = dict(zip(LINKS, links(place.cuda, x, y, *locked), strict=True))
    if mpi.size > 1:
        send, receive = locked
        whole = partial(exchange, mpi, send, receive, nbytes)
        calls["message"] = whole
        calls["segments"] = partial(exchange, mpi, send, receive, SEGMENT)
        calls["exchange"] = partial(comm.allgather, x, algorithm="ring")
        calls["allreduce"] = partial(comm.allreduce, x, out=y, algorithm="ring")
    entries = [Entry(call, x, None) for call in calls.values()]
    raced = race(entries, options, mpi, place)
    medians = {
        name: float(np.median((raced.device if name in LINKS else raced.seconds)[i]))
        for i, name in enumerate(calls)
    }
    return told(nbytes, mpi.size, medians)


def told(nbytes: int, ranks: int, seconds: dict[str, float]) -> list[Rate]:
    """Return the rates of one size, those of what is staged beside their limit."""
    carried = {  # bytes of a rank each way
        "exchange": nbytes * (ranks - 1),
        "allreduce": 2 * nbytes * (ranks - 1) // ranks,
    }
    speeds = {
        name: carried.get(name, nbytes) / took / 1e9 for name, took in seconds.items()
    }
    kind = "float32"
    found = [Rate("pcie", name, kind, nbytes, speeds[name]) for name in LINKS]
    if ranks == 1:
        return found
    found += [Rate("wire", name, kind, nbytes, speeds[name]) for name in WIRES]
    wire = max(speeds[name] for name in WIRES)
    least, limit = min((speeds["both ways"], "pcie"), (wire, "wire"))
    return found + [
        Rate(
            "staged",
            name,
            kind,
            nbytes,
            speeds[name],
            ratio=speeds[name] / least,
            limit=limit,
            goal=GOAL,
        )
        for name in carried
    ]


def links(
    cuda: Any, x: Any, y: Any, below: np.ndarray, above: np.ndarray
) -> list[Callable[[], Any]]:
    """Return what copies between a GPU and the host, as named in ``LINKS``.

    ``below`` and ``above`` are page-locked, for what comes down and what goes up.
    """
    pageable = np.ones(x.size, x.dtype)
    down, up = (cuda.Stream(non_blocking=True) for _ in range(2))
    to_host = partial(x.data.copy_to_host_async, address(below), x.nbytes)
    from_host = partial(y.data.copy_from_host_async, address(above), y.nbytes)

    def both() -> None:
        here = cuda.get_current_stream()
        begins = here.record(cuda.Event(disable_timing=True))
        for stream, copy in ((down, to_host), (up, from_host)):
            stream.wait_event(begins)
            copy(stream)
            here.wait_event(stream.record(cuda.Event(disable_timing=True)))

    return [
        lambda: to_host(cuda.get_current_stream()),
        lambda: from_host(cuda.get_current_stream()),
        both,
        lambda: x.get(out=pageable),
        lambda: y.set(pageable),
    ]


def exchange(mpi: Any, send: np.ndarray, receive: np.ndarray, segment: int) -> None:
    """Send to the next rank, and receive from the one before, ``segment`` at a time."""
    from mpi4py import MPI

    dst, src = (mpi.rank + 1) % mpi.size, (mpi.rank - 1) % mpi.size
    under_way: list[list[Any]] = []
    for start in range(0, send.nbytes, segment):
        if len(under_way) == UNDER_WAY:
            MPI.Request.Waitall(under_way.pop(0))
        part = slice(start, start + segment)
        under_way.append([mpi.Irecv(receive[part], src), mpi.Isend(send[part], dst)])
    for requests in under_way:
        MPI.Request.Waitall(requests)


def page_locked(cuda: Any, nbytes: int) -> np.ndarray:
    """Return bytes of the host that a GPU reads and writes directly."""
    data = np.frombuffer(cuda.alloc_pinned_memory(nbytes), np.uint8, nbytes)
    data[:] = 1
    return data


def address(data: np.ndarray) -> ctypes.c_void_p:
    """Return where an array begins, as CuPy takes it."""
    return ctypes.c_void_p(data.ctypes.data)
