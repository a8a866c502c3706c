"""Tune: measure all algorithms here, and write the table that ``auto`` goes by.

    mpirun -np 4 python -m bench.tune

`bench.contest` runs for each class of types, in ordinary and in registered memory;
`bench.ranges` makes lines of what it finds.  torch is loaded where it is installed:
programs that reduce half types have it, and its kernels add them.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from collectives import Choice, Communicator, InvalidArgument, host, tuned, usage

from . import ranges
from .allreduce import silent
from .command import launched, parse_size, unwritable
from .contest import Contest
from .options import Options

NAME = "python -m bench.tune"
MEASURED = {"float32": "float32", "half": "float16"}  # the type that stands for a class


class Asked(NamedTuple):
    """What the command line says: what to measure, and where the table goes."""

    options: Options
    output: str | None
    kinds: tuple[str, ...]  # classes of types


def run(
    options: Options,
    mpi: Any,
    show: Callable[[str], None] = silent,
    kinds: Sequence[str] = tuned.CLASSES,
) -> tuple[tuned.Line, ...]:
    """Measure on all ranks; return the lines of the table, alike on all of them.

    ``kinds`` are the classes of types that it shall have lines for.

    Raises:
        WrongResult: on all ranks, if an algorithm's result is wrong.
    """
    found: list[tuned.Line] = []
    with Communicator(mpi, tuned=tuned.OFF) as comm:
        for kind in kinds:
            dtype = MEASURED[kind]
            for registered in (False, True):
                show(f"# {kind}, {'registered' if registered else 'not registered'}")
                its = replace(options, dtype=dtype)
                measured = {}
                for nbytes, times in Contest(its, comm, mpi, registered).sizes():
                    measured[nbytes] = times
                    show(summary(nbytes, times))
                found += ranges.lines(measured, "allreduce", kind, registered)
    return tuple(found)


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
    return launched(NAME, parse, carry_out, arguments)


def carry_out(asked: Asked, command: list[str], world: Any) -> int:
    """Measure, show, and write the table."""
    options, output, kinds = asked
    with Communicator(world, tuned=tuned.OFF) as comm:
        layout = comm.topology.layout
    path = output or tuned.default_path(layout, host.library())
    problem = None
    if world.size == 1:
        problem = (
            "one rank has nothing to choose; start more with the launcher of this MPI: "
            f"mpirun -np 2 {NAME} (another MPI's launcher starts single ranks)"
        )
    elif world.rank == 0:
        problem = unwritable(output) if output else unwritable_table(path)
    if not output and os.environ.get("COLLECTIVES_NODES"):
        problem = (
            "COLLECTIVES_NODES pretends nodes: name a file with --output; in the cache "
            "it would pass for a measurement of real ones"
        )
    problem = world.bcast(problem)
    if problem is not None:
        raise InvalidArgument(problem)
    with suppress(ImportError):
        import torch  # noqa: F401
    show = partial(print, flush=True) if world.rank == 0 else silent
    lines = run(options, world, show, kinds)
    if world.rank == 0:
        table = tuned.Table(
            layout,
            host.library(),
            host.processor(),
            command=" ".join(["mpirun -np", str(world.size), *command]),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            lines=lines,
        )
        table.write(path)
        show(f"# written: {path}")
    return 0


def unwritable_table(path: str) -> str | None:
    """Say why a table cannot be written, before hours go into it; make its folder."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"cannot write {path!r}: {error}; choose another place with --output"
    return unwritable(path)


def parse(arguments: list[str]) -> Asked:
    """Read the command line.

    Raises:
        InvalidArgument: it has a mistake.
        SystemExit: it asks for help.
    """
    parser = usage.Parser(
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
    add("-d", "--dtype", choices=tuned.CLASSES, help="this class of types only")
    add("-o", "--output", metavar="FILE", help="default: in the user's cache folder")
    given = vars(parser.parse_args(arguments))
    output, quick = given.pop("output"), given.pop("quick")
    kind = given.pop("dtype")
    usual = {"max": 256 << 20, "factor": 4, "iters": 200}
    if quick:
        usual = {"max": 1 << 20, "factor": 16, "iters": 5}
    given = usual | {key: value for key, value in given.items() if value is not None}
    return Asked(Options((), **given), output, (kind,) if kind else tuned.CLASSES)


if __name__ == "__main__":
    raise SystemExit(main())
