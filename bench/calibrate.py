"""Calibrate: measure the links and the additions that predictions go by.

    mpirun -np 4 python -m bench.calibrate machine.json

A message of n bytes takes alpha + n beta: half a round trip between two ranks.  Inside
nodes neighbours play in pairs, all pairs at once, as they do in a ring; between nodes
one rank of a node plays, so that ``inter`` is a whole node's wire.  Group calls go
through the memory that a node shares: ``node`` is the link by which
``Machine.group_call`` explains an allreduce of all its ranks, all nodes at once.
Combining n bytes takes n gamma; all ranks add at once, since they share the memory.
Times are medians of the slowest pair's, or rank's.

`bench.fitting` finds the links.  The file is for ``Communicator(machine=...)`` and
``--machine``.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import numpy as np

from collectives import (
    Communicator,
    InvalidArgument,
    Link,
    Machine,
    host,
    pingpong,
    usage,
)

from . import fitting
from .allreduce import silent
from .command import check_writable, launched, parse_size
from .measure import Entry, race
from .options import Options

NAME = "python -m bench.calibrate"
ADDED = 4 << 20  # bytes of an addition: more than the caches a core has for itself
WARMUP, TURNS = 3, 10


def run(
    mpi: Any, comm: Communicator, most: int, show: Callable[[str], None]
) -> Machine:
    """Measure on all ranks; return the machine, alike on all of them.

    A link that is not there is as the other one, or as that of ``host``; group calls
    without memory that is shared are messages.
    """
    topology = comm.topology
    inter = link("between nodes", mpi, pingpong.across(topology), most, show)
    intra = link("inside nodes", mpi, pingpong.inside(topology), most, show) or inter
    gamma = addition(mpi)
    show(f"# additions: gamma {gamma * 1e9:.4f} ns/B")
    note = "" if inter else "; one node: links between nodes as of host"
    found = Machine(
        name=host.processor(),
        intra=intra or Machine.load("host").intra,
        inter=inter or Machine.load("host").inter,
        gamma=gamma,
        shared=True,
        local=max(map(len, topology.nodes)),
        source=f"{NAME}, {mpi.size} ranks laid out {topology.layout}, "
        f"{host.library()}, {date.today().isoformat()}{note}",
    )
    return replace(found, node=group_link(found, mpi, comm, most, show))


def link(
    where: str,
    mpi: Any,
    pairs: list[tuple[int, int]],
    most: int,
    show: Callable[[str], None],
) -> Link | None:
    """Measure messages of 4 to ``most`` bytes, and fit a link; None without pairs."""
    if not pairs:
        return None
    sizes = up_to(most)
    seconds = [pingpong.half_round_trip(mpi, pairs, nbytes) for nbytes in sizes]
    found = fitting.line(sizes, seconds)
    show(told(where, found, sizes, seconds, lambda n: found.alpha + n * found.beta))
    return found


def group_link(
    machine: Machine,
    mpi: Any,
    comm: Communicator,
    most: int,
    show: Callable[[str], None],
) -> Link | None:
    """Measure allreduces of each node by itself; None where no memory is shared.

    ``machine`` is what is known so far.
    """
    if not mpi.allreduce(comm.shared_bytes):
        return None
    node = comm.split(comm.topology.node_of[comm.rank])
    assert node is not None
    data, one = np.ones(most // 4, np.float32), np.float32(1)
    sizes = up_to(most)
    entries = []
    for x in (data[: n // 4] for n in sizes):
        call = partial(node.allreduce, x, out=x, algorithm="shared")
        entries.append(Entry(call, x, one))
    turns = Options((), iters=TURNS, warmup=WARMUP, check=False)
    seconds = np.median(race(entries, turns, mpi).seconds, axis=1).tolist()
    node.close()

    def predict(link: Link, nbytes: int) -> float:
        return machine.group_call("allreduce", machine.local, nbytes, link)

    start = Machine.load("host").engine
    found = fitting.model(predict, sizes, seconds, start)
    show(told("group calls", found, sizes, seconds, partial(predict, found)))
    return found


def up_to(most: int) -> list[int]:
    """Return the bytes to measure.

    >>> up_to(100)
    [4, 16, 64]
    """
    sizes = [4]
    while sizes[-1] * 4 <= most:
        sizes.append(sizes[-1] * 4)
    return sizes


def told(
    where: str,
    found: Link,
    sizes: Sequence[int],
    seconds: Sequence[float],
    predict: Callable[[int], float],
) -> str:
    """Return the lines that show a link, and how well it fits."""
    lines = [
        f"# {where}: alpha {found.alpha * 1e6:.2f} us, "
        f"beta {found.beta * 1e9:.4f} ns/B",
        f"{'bytes':>12} {'measured us':>12} {'fitted us':>12} {'error':>7}",
    ]
    for n, measured in zip(sizes, seconds, strict=True):
        fitted = predict(n)
        lines.append(
            f"{n:>12} {measured * 1e6:>12.2f} {fitted * 1e6:>12.2f} "
            f"{fitted / measured - 1:>+7.0%}"
        )
    return "\n".join(lines)


def addition(mpi: Any) -> float:
    """Return the median seconds to add one byte of float32 to another, on all ranks."""
    from mpi4py import MPI

    data = np.ones((2, ADDED // 4), np.float32)
    seconds = np.zeros(TURNS)
    for i in range(-WARMUP, TURNS):
        mpi.Barrier()
        before = time.perf_counter()
        np.add(data[0], data[1], out=data[0])
        if i >= 0:
            seconds[i] = time.perf_counter() - before
    mpi.Allreduce(MPI.IN_PLACE, seconds, MPI.MAX)
    return float(np.median(seconds)) / ADDED


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 2 if it cannot be obeyed."""
    return launched(NAME, parser().parse_args, carry_out, arguments)


def carry_out(options: argparse.Namespace, command: list[str], world: Any) -> int:
    """Measure, show, and write the file."""
    check_writable(world, options.output)
    if world.size == 1:
        raise InvalidArgument(
            "one rank has no links: start two or more, mpirun -np 2 ..."
        )
    show = partial(print, flush=True) if world.rank == 0 else silent
    with Communicator(world, tuned="off") as comm:
        machine = run(world, comm, options.max, show)
    if world.rank == 0 and options.output:
        machine.save(options.output)
        show(f"# written: {options.output}")
    return 0


def parser() -> usage.Parser:
    """Return the parser of the command line."""
    result = usage.Parser(
        prog=NAME, description="Fit alpha, beta and gamma of this machine."
    )
    add = result.add_argument
    add("output", nargs="?", metavar="FILE", help="JSON to write")
    add("-e", "--max", type=parse_size, default="4M", help="longest message (4M)")
    return result


if __name__ == "__main__":
    raise SystemExit(main())
