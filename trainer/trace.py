"""Trace: when each rank computed and communicated, for ui.perfetto.dev.

    trace = start(comm, path)             # path None: OFF, which records nothing
    with trace.span("forward"):
        ...
    trace.add("bucket 0", begin, end, track="allreduce", nbytes=4096)
    trace.write()                                 # all ranks together

Each rank keeps its newest spans in a ring, with its own clock (`perf_counter`).  At the
end rank 0 collects them and writes one file in the Trace Event Format: a process for
each node, threads for each rank.  Times are the host's: on a GPU a span is the queueing
of work, unless the host waits for it.

*Clocks.*  A ping-pong at the start and another at the end tell how far each rank's
clock is from rank 0's (`collectives.pingpong.clock_offset`); in between the offset is
taken to change evenly.  The file's ``otherData`` has the method and each rank's error.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

import gzip
import json
import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TextIO

from collectives import InvalidArgument, Topology, pingpong

MOST = 1 << 20  # spans in a file: some 100 MB
MOST_OF_A_RANK = 1 << 16
MAIN = "main"  # the track of what is computed
TRACKS = 8  # of a rank, at most; thread numbers are multiples of it
METHOD = (
    "each rank's perf_counter, moved to rank 0's by two ping-pongs, at the start and "
    "at the end: the middle of the shortest round trip, the offset changing evenly in "
    "between; the error is half of that round trip at most"
)


class Reading(NamedTuple):
    """A rank's clock against rank 0's."""

    at: float  # seconds on the rank's clock
    offset: float  # seconds that it is ahead
    error: float  # seconds, at most


class Part(NamedTuple):
    """What one rank has recorded."""

    host: str
    spans: list[tuple[str, str, float, float, dict[str, Any]]]
    dropped: int
    clock: tuple[Reading, Reading]  # at the start and at the end


class Off:
    """The trace of a run that has none."""

    def span(self, name: str, **about: Any) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return NOTHING

    def add(
        self, name: str, begin: float, end: float, *, track: str = MAIN, **about: Any
    ) -> None:
        """Record nothing."""

    def write(self) -> None:
        """Write nothing."""


NOTHING: AbstractContextManager[None] = nullcontext()
OFF = Off()


class Trace:
    """Spans of one rank; all ranks have one, or none has."""

    def __init__(self, comm: Any, path: str, mpi: Any = None):
        """Record for rank 0's file ``path``; ``mpi`` has the ranks of ``comm``."""
        self.comm, self.path, self.mpi = comm, path, mpi
        room = min(MOST_OF_A_RANK, max(1, MOST // comm.size))
        self.ring: deque[tuple[str, str, float, float, dict[str, Any]]] = deque(
            maxlen=room
        )
        self.added = 0
        self.first = self._read_clock()

    def span(self, name: str, **about: Any) -> AbstractContextManager[None]:
        """Return a context that is recorded on the track of what is computed."""
        return Span(self, name, about)

    def add(
        self, name: str, begin: float, end: float, *, track: str = MAIN, **about: Any
    ) -> None:
        """Record a span whose times (`perf_counter`) are known; any thread may.

        The spans of one track do not overlap, or one contains the other.
        """
        self.added += 1
        self.ring.append((name, track, begin, end, about))

    def write(self) -> None:
        """Collect the spans of all ranks; rank 0 writes them."""
        clock = self.first, self._read_clock()
        dropped = self.added - len(self.ring)
        mine = Part(socket.gethostname(), list(self.ring), dropped, clock)
        parts = self.comm.gather_objects(mine, root=0)
        if parts is not None:
            store(self.path, parts, self.comm.topology)

    def _read_clock(self) -> Reading:
        offset, error = 0.0, 0.0
        if self.comm.size > 1:
            offset, error = pingpong.clock_offset(self.mpi)
        return Reading(perf_counter(), offset, error)


class Span:
    """A context whose beginning and end are recorded."""

    __slots__ = ("about", "begin", "name", "trace")

    def __init__(self, trace: Trace, name: str, about: dict[str, Any]):
        """Record in ``trace``."""
        self.trace, self.name, self.about = trace, name, about

    def __enter__(self) -> None:
        """Begin."""
        self.begin = perf_counter()

    def __exit__(self, *error: object) -> None:
        """End, with or without an exception."""
        self.trace.add(self.name, self.begin, perf_counter(), **self.about)


def start(comm: Any, path: str | None, mpi: Any = None) -> "Trace | Off":
    """Return a trace for the file ``path``, `OFF` without one; all ranks together.

    ``mpi`` is an mpi4py communicator of the ranks of ``comm``, by default COMM_WORLD.
    """
    if path is None:
        return OFF
    if comm.size > 1 and mpi is None:
        from mpi4py import MPI

        mpi = MPI.COMM_WORLD
    return Trace(comm, path, mpi)


def make_file(path: str) -> None:
    """Make the file, empty, so that it is known now whether it can be written.

    Raises:
        InvalidArgument: it cannot.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    except OSError as error:
        raise InvalidArgument(f"--trace {path}: cannot be written: {error}") from error


def store(path: str, parts: Sequence[Part], topology: Topology) -> None:
    """Write the parts of all ranks into one file; ``*.gz`` is compressed."""
    temporary = f"{path}.part"
    openers: dict[bool, Any] = {True: gzip.open, False: open}
    with openers[path.endswith(".gz")](temporary, "wt", encoding="utf-8") as file:
        dump(file, parts, topology)
    os.replace(temporary, path)


def dump(file: TextIO, parts: Sequence[Part], topology: Topology) -> None:
    """Write a JSON object, one event a line."""
    other = {
        "clock": METHOD,
        "clock_error_us": [
            round(1e6 * max(r.error for r in p.clock), 3) for p in parts
        ],
        "spans_dropped": [part.dropped for part in parts],
        "ranks": len(parts),
    }
    file.write(f'{{"displayTimeUnit":"ms","otherData":{json.dumps(other)},\n')
    file.write('"traceEvents":[')
    separator = "\n"
    for event in events(parts, topology):
        file.write(separator + json.dumps(event, separators=(",", ":")))
        separator = ",\n"
    file.write("\n]}\n")


def events(parts: Sequence[Part], topology: Topology) -> Iterator[dict[str, Any]]:
    """Yield names of processes and threads, and all spans, in microseconds from 0."""
    origin = min(
        (aligned(begin, p.clock) for p in parts for _, _, begin, _, _ in p.spans),
        default=0.0,
    )
    for rank, part in enumerate(parts):
        node = topology.node_of[rank]
        if rank == topology.nodes[node][0]:
            yield named("process_name", node, rank, f"node {node} ({part.host})")
        tracks = list(dict.fromkeys([MAIN, *(span[1] for span in part.spans)]))
        for index, track in enumerate(tracks):
            thread = TRACKS * rank + index
            text = f"rank {rank}" + (f" {track}" if index else "")
            yield named("thread_name", node, thread, text)
        for name, track, begin, end, about in part.spans:
            start_s, end_s = aligned(begin, part.clock), aligned(end, part.clock)
            yield {
                "name": name,
                "cat": track,
                "ph": "X",
                "ts": round(1e6 * (start_s - origin), 3),
                "dur": round(1e6 * max(0.0, end_s - start_s), 3),
                "pid": node,
                "tid": TRACKS * rank + tracks.index(track),
                "args": about,
            }


def aligned(at: float, clock: tuple[Reading, Reading]) -> float:
    """Return on rank 0's clock what a rank's own calls ``at``.

    >>> aligned(15.0, (Reading(10.0, 4.0, 0.0), Reading(20.0, 5.0, 0.0)))
    10.5
    """
    first, last = clock
    passed = last.at - first.at
    share = (at - first.at) / passed if passed > 0 else 0.0
    return at - (first.offset + share * (last.offset - first.offset))


def named(kind: str, process: int, thread: int, text: str) -> dict[str, Any]:
    """Return the event that gives a process or a thread its name."""
    about = {"name": text}
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": about}
