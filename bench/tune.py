"""Tune: measure all algorithms here, and write the table that ``auto`` goes by.

    mpirun -np 4 python -m bench.tune

All candidates sum in place, side by side as in `bench.measure`, for each class of
types, in ordinary and in registered memory, at each size.  After a few turns those
within ``SLOWEST`` times the fastest race again, with as many turns as fit a time.
Where buffers are long, so do variants of the fastest one that passes messages: other
lengths of messages, more steps in flight.  torch is loaded where it is installed:
programs that reduce half types have it, and its kernels add them.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from collectives import (
    Choice,
    Chunk,
    CollectiveError,
    Communicator,
    Exchange,
    InvalidArgument,
    UnsupportedTopology,
    WrongResult,
    abort_on_exception,
    algorithms,
    host,
    tuned,
)

from . import ranges
from .allreduce import silent
from .command import Parser, WrongUsage, parse_size, refuse, unwritable
from .inputs import Inputs
from .measure import Entry, race
from .options import Options

NAME = "python -m bench.tune"
MEASURED = {"float32": "float32", "half": "float16"}  # the type that stands for a class
SLOWEST = 2.0
BUDGET_S = 1.0  # of a race
FIRST_TURNS = 3
LEAST_TURNS = 5
LONG = 1 << 18  # bytes from which variants take part
SEGMENTS = (1 << 17, 1 << 19, 1 << 21)  # bytes
DEPTHS = (4, 8)


def run(
    options: Options, mpi: Any, show: Callable[[str], None] = silent
) -> tuple[tuned.Line, ...]:
    """Measure on all ranks; return the lines of the table, alike on all of them.

    Raises:
        WrongResult: on all ranks, if an algorithm's result is wrong.
    """
    found: list[tuned.Line] = []
    with Communicator(mpi, tuned=tuned.OFF) as comm:
        for kind, dtype in MEASURED.items():
            for registered in (False, True):
                show(f"# {kind}, {'registered' if registered else 'not registered'}")
                its = Options(**vars(options) | {"dtype": dtype})
                measured = {}
                for nbytes, times in sizes(its, comm, mpi, registered):
                    measured[nbytes] = times
                    show(summary(nbytes, times))
                found += ranges.lines(measured, "allreduce", kind, registered)
    return tuple(found)


def sizes(
    options: Options, comm: Communicator, mpi: Any, registered: bool
) -> Iterator[tuple[int, dict[Choice, float]]]:
    """Yield bytes, and the microseconds of the candidates, for one size after another.

    Two buffers are allocated once, for the largest size.
    """
    inputs = Inputs(options.dtype, "sum", mpi.size, options.seed)
    counts = options.counts()
    start = np.empty(max(counts), options.dtype)
    allocate = comm.empty if registered else np.empty
    memory = allocate(max(counts), options.dtype)
    inputs.fill(start, mpi.rank)
    names = candidates(comm, options.dtype)
    for count in counts:
        contest = partial(
            contend, options, comm, mpi, memory[:count], start[:count], inputs
        )
        nbytes = start[:count].nbytes
        times = contest(names, 1 if nbytes >= LONG else FIRST_TURNS)
        best = min(times.values())
        close = [choice for choice, us in times.items() if us <= SLOWEST * best]
        if nbytes >= LONG:
            close += variants(times, comm)
        turns = int(BUDGET_S * 1e6 / sum(times.get(c, best) for c in close))
        turns = min(options.iters, max(LEAST_TURNS, turns))
        yield nbytes, times | contest(close, turns)


def contend(
    options: Options,
    comm: Communicator,
    mpi: Any,
    out: np.ndarray,
    start: np.ndarray,
    inputs: Inputs,
    choices: list[Choice],
    turns: int,
) -> dict[Choice, float]:
    """Return the median microseconds of each choice, alike on all ranks."""
    calls = [
        partial(comm.allreduce, out, out=out, algorithm=str(choice))
        for choice in choices
    ]
    entries = [Entry(call, out, start, inputs) for call in calls]
    racing = Options(**vars(options) | {"iters": turns, "warmup": 1})
    seconds, wrong = race(entries, racing, mpi)
    for choice, n in zip(choices, wrong.tolist(), strict=True):
        if n:
            raise WrongResult(f"{choice}: {n} wrong elements at {out.nbytes} bytes")
    medians = np.median(seconds, axis=1) * 1e6
    return dict(zip(choices, medians.tolist(), strict=True))


def candidates(comm: Communicator, dtype: str) -> list[Choice]:
    """Return the algorithms that ``auto`` may take here for this type."""
    found = []
    one = np.ones(1, dtype)
    for name in algorithms.names():
        try:
            comm.allreduce(one, algorithm=name)
        except (InvalidArgument, UnsupportedTopology):  # on all ranks
            continue
        if name != "rank_order":  # it is for deterministic=True
            found.append(Choice(name))
    return found


def variants(times: dict[Choice, float], comm: Communicator) -> list[Choice]:
    """Return other ways to run the fastest algorithm that passes messages."""
    for choice in sorted(times, key=times.__getitem__):
        module = algorithms.load(choice.algorithm)
        steps = module.schedule(comm.topology, 0, Chunk(0, 1 << 20))
        if any(isinstance(step, Exchange) for step in islice(steps, 64)):
            lengths = [choice._replace(segment=n) for n in SEGMENTS]
            return [*lengths, *(choice._replace(depth=n) for n in DEPTHS)]
    return []


def summary(nbytes: int, times: dict[Choice, float]) -> str:
    """Write the fastest three of a size, and the MPI library's own."""
    order = sorted(times, key=times.__getitem__)[:3]
    native = Choice("native")
    if native in times and native not in order:
        order.append(native)
    return f"{nbytes:>12}  " + ", ".join(f"{c} {times[c]:.1f} us" for c in order)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: the table is written.  1: a result was wrong.  2: it cannot be obeyed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options, output = parse(arguments)
    except WrongUsage as error:
        return refuse(error, NAME)
    abort_on_exception()
    from mpi4py import MPI

    try:
        return carry_out(options, output, arguments, MPI.COMM_WORLD)
    except WrongResult as error:
        refuse(error, NAME)
        return 1
    except (CollectiveError, WrongUsage) as error:
        return refuse(error, NAME)  # raised by all ranks


def carry_out(
    options: Options, output: str | None, arguments: list[str], world: Any
) -> int:
    """Measure, show, and write the table."""
    with Communicator(world, tuned=tuned.OFF) as comm:
        layout = comm.topology.layout
    path = output or tuned.default_path(layout, host.library())
    problem = unwritable_table(path) if world.rank == 0 else None
    if not output and os.environ.get("COLLECTIVES_NODES"):
        problem = (
            "COLLECTIVES_NODES pretends nodes: name a file with --output; in the cache "
            "it would pass for a measurement of real ones"
        )
    problem = world.bcast(problem)
    if problem is not None:
        raise WrongUsage(problem)
    with suppress(ImportError):
        import torch  # noqa: F401
    show = partial(print, flush=True) if world.rank == 0 else silent
    lines = run(options, world, show)
    if world.rank == 0:
        table = tuned.Table(
            layout,
            host.library(),
            host.processor(),
            command=" ".join(["mpirun -np", str(world.size), NAME, *arguments]),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            lines=lines,
        )
        table.write(path)
        show(f"# written: {path}")
    return 0


def unwritable_table(path: str) -> str | None:
    """Say why a table cannot be written, before hours go into it; make its folder."""
    try:
        Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"cannot write {path!r}: {error}; choose another place with --output"
    return unwritable(path)


def parse(arguments: list[str]) -> tuple[Options, str | None]:
    """Read the command line: what to measure, and the path of the table.

    Raises:
        WrongUsage: it has a mistake.
        SystemExit: it asks for help.
    """
    parser = Parser(
        prog=NAME,
        description="Measure all algorithms, and write the table that auto goes by.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-b", "--min", type=parse_size, default=4, help="first size in bytes (4)")
    add("-e", "--max", type=parse_size, help="last size (256M)")
    add("-f", "--factor", type=int, help="from one size to the next (4)")
    add("-n", "--iters", type=int, help="most turns of a race (200)")
    add("--quick", action="store_true", help="--max 1M --factor 16 --iters 5")
    add("--seed", type=int, default=0, help="of the contributions")
    add("-o", "--output", metavar="FILE", help="default: in the user's cache folder")
    given = vars(parser.parse_args(arguments))
    output, quick = given.pop("output"), given.pop("quick")
    usual = {"max": 256 << 20, "factor": 4, "iters": 200}
    if quick:
        usual = {"max": 1 << 20, "factor": 16, "iters": 5}
    given = usual | {key: value for key, value in given.items() if value is not None}
    return Options((), **given), output


if __name__ == "__main__":
    raise SystemExit(main())
