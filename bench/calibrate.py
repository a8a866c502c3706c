"""Calibrate: measure the links and the additions that predictions go by.

    mpirun -np 4 python -m bench.calibrate machine.json

A message of n bytes takes alpha + n beta: half a round trip between two ranks.  Inside
nodes neighbours play in pairs, all pairs at once, as they do in a ring; between nodes
one rank of a node plays, so that ``inter`` is a whole node's wire.  Combining n bytes
takes n gamma; all ranks add at once, since they share the memory.  Times are medians of
the slowest pair's.

The line is fitted by least squares of relative errors: sizes from 4 bytes to megabytes
then count alike.  The file is for ``Communicator(machine=...)`` and ``--machine``.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import Any

import numpy as np

from collectives import (
    Communicator,
    InvalidArgument,
    Link,
    Machine,
    Topology,
    abort_on_exception,
    host,
    pingpong,
)

from .allreduce import silent
from .command import Parser, WrongUsage, parse_size, refuse, unwritable

NAME = "python -m bench.calibrate"
ADDED = 4 << 20  # bytes of an addition: more than the caches a core has for itself
WARMUP, TURNS = 3, 10


def run(
    mpi: Any, topology: Topology, most: int, show: Callable[[str], None]
) -> Machine:
    """Measure on all ranks; return the machine, alike on all of them.

    A link that is not there is as the other one, or as that of ``host``.
    """
    inter = link("between nodes", mpi, pingpong.across(topology), most, show)
    intra = link("inside nodes", mpi, pingpong.inside(topology), most, show) or inter
    gamma = addition(mpi)
    show(f"# additions: gamma {gamma * 1e9:.4f} ns/B")
    note = "" if inter else "; one node: links between nodes as of host"
    return Machine(
        name=host.processor(),
        intra=intra or Machine.load("host").intra,
        inter=inter or Machine.load("host").inter,
        gamma=gamma,
        shared=True,
        local=max(map(len, topology.nodes)),
        source=f"{NAME}, {mpi.size} ranks laid out {topology.layout}, "
        f"{host.library()}, {date.today().isoformat()}{note}",
    )


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
    sizes = [4]
    while sizes[-1] * 4 <= most:
        sizes.append(sizes[-1] * 4)
    seconds = [pingpong.half_round_trip(mpi, pairs, nbytes) for nbytes in sizes]
    found = fit(sizes, seconds)
    show(
        f"# {where}: alpha {found.alpha * 1e6:.2f} us, beta {found.beta * 1e9:.4f} ns/B"
    )
    show(f"{'bytes':>12} {'measured us':>12} {'fitted us':>12} {'error':>7}")
    for n, measured in zip(sizes, seconds, strict=True):
        fitted = found.alpha + n * found.beta
        show(
            f"{n:>12} {measured * 1e6:>12.2f} {fitted * 1e6:>12.2f} "
            f"{fitted / measured - 1:>+7.0%}"
        )
    return found


def fit(sizes: Sequence[int], seconds: Sequence[float]) -> Link:
    """Return the link with the least sum of squared relative errors.

    Neither of its parts is negative.
    """
    times = np.asarray(seconds)
    columns = (
        np.stack([np.ones(len(sizes)), np.asarray(sizes)], axis=1) / times[:, None]
    )
    one = np.ones(len(sizes))
    alpha, beta = np.linalg.lstsq(columns, one, rcond=None)[0].tolist()
    if alpha < 0:
        alpha, beta = 0.0, (columns[:, 1] @ one) / (columns[:, 1] @ columns[:, 1])
    if beta < 0:
        alpha, beta = (columns[:, 0] @ one) / (columns[:, 0] @ columns[:, 0]), 0.0
    return Link(float(alpha), float(beta))


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
    try:
        options = parser().parse_args(arguments)
    except WrongUsage as error:
        return refuse(error, NAME)
    abort_on_exception()
    from mpi4py import MPI

    try:
        return carry_out(options, MPI.COMM_WORLD)
    except (InvalidArgument, WrongUsage) as error:
        return refuse(error, NAME)  # raised by all ranks


def carry_out(options: argparse.Namespace, world: Any) -> int:
    """Measure, show, and write the file."""
    problem = world.bcast(unwritable(options.output) if world.rank == 0 else None)
    if problem is None and world.size == 1:
        problem = "one rank has no links: start two or more, mpirun -np 2 ..."
    if problem is not None:
        raise WrongUsage(problem)
    show = partial(print, flush=True) if world.rank == 0 else silent
    with Communicator(world, tuned="off") as comm:
        machine = run(world, comm.topology, options.max, show)
    if world.rank == 0 and options.output:
        machine.save(options.output)
        show(f"# written: {options.output}")
    return 0


def parser() -> Parser:
    """Return the parser of the command line."""
    result = Parser(prog=NAME, description="Fit alpha, beta and gamma of this machine.")
    add = result.add_argument
    add("output", nargs="?", metavar="FILE", help="JSON to write")
    add("-e", "--max", type=parse_size, default="4M", help="longest message (4M)")
    return result


if __name__ == "__main__":
    raise SystemExit(main())
