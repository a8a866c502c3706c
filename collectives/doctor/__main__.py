"""Doctor: what this MPI, this machine and its devices can do, and what to do next.

    mpirun -n 2 python -m collectives.doctor

Rank 0 reports versions, layout, threads, shared memory, environment and libraries, and
whether MPI says that it takes device memory.  Then buffers are really sent between two
new ranks, whose crash is contained, and the links between these ranks are measured.
The exit code is 0 if all is well, 1 if something is broken, 2 for wrong usage.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import aware, pingpong
from ..abort import abort_on_exception
from ..errors import CollectiveError, InvalidArgument, Stalled
from ..once import on_rank_0
from ..topology import Topology
from ..usage import Parser
from . import advice, contained, diagnosis
from .contained import Outcome
from .diagnosis import Speed
from .findings import Findings, gather

SHORT = 8  # bytes
IDLE_S = 0.01  # a rank that waits leaves its core to the probe


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code, alike on all ranks."""
    try:
        options = parser().parse_args(arguments)
        check(options)
    except InvalidArgument as error:
        return refuse(error)
    abort_on_exception()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        print(
            f"doctor: no MPI can be loaded: {error}; pip install "
            "'mpi-collectives[mpich]' brings one",
            file=sys.stderr,
        )
        return 1
    try:
        return examine(MPI.COMM_WORLD, options)
    except CollectiveError as error:  # raised by all ranks
        return refuse(error)


def examine(mpi: Any, options: argparse.Namespace) -> int:
    """Look, try, measure and report; all ranks call it together.

    Raises:
        InvalidArgument: on all ranks, if the file cannot be written.
        UnsupportedTopology: on all ranks, if the layout asked for does not hold them.
    """
    from ..communicator import Communicator

    on_rank_0(mpi, lambda: writable(options.json))
    with deadline(options.timeout_s, "the look at all ranks"):
        with Communicator(mpi, tuned="off", timeout_s=options.timeout_s) as comm:
            topology = comm.topology
            found = gather(comm, mpi, options.gpu_transport, not options.no_device)
    outcomes: list[Outcome] = []
    if found is not None:
        print(diagnosis.circumstances(found), flush=True)
        outcomes = probes(found, options)
        print(diagnosis.probed(outcomes), flush=True)
    wait_for_rank_0(mpi)
    with deadline(options.timeout_s, "the measurement of links"):
        speeds = measure(mpi, topology, options.max_bytes)
    code = 0
    if found is not None:
        advised = advice.advice(found, outcomes)
        print(diagnosis.measured(speeds))
        print(diagnosis.next_steps(advised), flush=True)
        if options.json:
            content = diagnosis.as_json(found, outcomes, speeds, advised)
            Path(options.json).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        code = int(any(one.level == "broken" for one in advised))
    return int(mpi.bcast(code))


def probes(found: Findings, options: argparse.Namespace) -> list[Outcome]:
    """Send host memory, and that of a device if there is one, in jobs of their own."""
    first = found.ranks[0]
    memories = ["host", *filter(None, [first.devices.package])]
    path = next((one.path for one in first.libraries if one.kind == "mpi"), None)
    name, most, limit_s = found.versions["MPI"], options.max_bytes, options.timeout_s
    return [contained.probe(name, path, kind, most, limit_s) for kind in memories]


def measure(mpi: Any, topology: Topology, most: int) -> list[Speed]:
    """Return the speed of short and long messages, inside nodes and between them."""
    links = {
        "inside nodes": pingpong.inside(topology),
        "between nodes": pingpong.across(topology),
    }
    return [
        Speed(where, nbytes, pingpong.half_round_trip(mpi, pairs, nbytes))
        for where, pairs in links.items()
        if pairs
        for nbytes in (SHORT, most)
    ]


def wait_for_rank_0(mpi: Any) -> None:
    """Wait without using the core that the probe needs."""
    together = mpi.Ibarrier()
    while not together.Test():
        time.sleep(IDLE_S)


@contextmanager
def deadline(timeout_s: float, what: str) -> Iterator[None]:
    """End all ranks, with one message, if ``what`` does not end in time."""

    def give_up() -> None:
        raise Stalled(
            f"doctor: {what} has not ended after {timeout_s:g} s (--timeout-s): ranks "
            "do not reach each other; look for a firewall, or the wrong network"
        )

    timer = threading.Timer(timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check(options: argparse.Namespace) -> None:
    """Check what argparse does not.

    Raises:
        InvalidArgument: a number is out of range.
    """
    if options.max_bytes < 1:
        raise InvalidArgument(f"--max-bytes {options.max_bytes}: expected 1 or more")
    if not options.timeout_s > 0:
        raise InvalidArgument(
            f"--timeout-s {options.timeout_s:g}: expected more than 0"
        )


def writable(path: str | None) -> None:
    """Check that the report can be written.

    Raises:
        InvalidArgument: it cannot.
    """
    if path:
        try:
            Path(path).open("a", encoding="utf-8").close()
        except OSError as error:
            raise InvalidArgument(f"--json {path!r}: {error.strerror}") from None


def refuse(error: Exception) -> int:
    """Say once, on rank 0, what all ranks have found wrong; return the exit code."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        world = None
    else:
        world = MPI.COMM_WORLD
    if world is None or world.rank == 0:
        print(f"doctor: {error}", file=sys.stderr, flush=True)
    if world is not None:
        world.Barrier()  # a launcher may end the others when the first one leaves
    return 2


def parser() -> Parser:
    """Return the parser of the command line."""
    result = Parser(
        prog="python -m collectives.doctor",
        description="Say what this MPI and this machine can do, and what to do next.",
    )
    add = result.add_argument
    add(
        "--gpu-transport",
        choices=aware.CHOICES,
        default="auto",
        help="how device arrays are to travel (auto)",
    )
    add("--no-device", action="store_true", help="look for no CUDA device")
    add(
        "--max-bytes",
        type=int,
        default=4 << 20,
        metavar="N",
        help="longest message that is sent (4194304)",
    )
    add("--json", metavar="FILE", help="write everything to this file, too")
    add("--timeout-s", type=float, default=60.0, metavar="S", help="of each try (60)")
    return result


if __name__ == "__main__":
    raise SystemExit(main())
