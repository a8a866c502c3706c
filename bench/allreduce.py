"""Allreduce benchmark: our algorithms, the MPI library's and gloo's, side by side.

    mpirun -np 4 python -m bench.allreduce --algorithms ring,torus2d,native --max 64M

`run` does the same within a program.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from collectives import Communicator, InvalidArgument, UnsupportedTopology

from . import report
from .options import Options, WrongUsage, parse
from .row import Row

NAME = "python -m bench.allreduce"
HEAD_START_S = 0.5  # an error that all ranks have is told by rank 0


class Result(NamedTuple):
    """What `run` returns: the circumstances, and the rows, alike on all ranks."""

    meta: dict[str, Any]
    rows: list[Row]


def run(
    options: Options,
    mpi_comm: Any = None,
    *,
    command: Sequence[str] = (),
    show: Callable[[str], None] | None = None,
) -> Result:
    """Measure on all ranks of an mpi4py communicator (COMM_WORLD).

    ``show`` is called, on rank 0, with the parts of the table as they are ready.

    Raises:
        WrongUsage: no contender can reduce this type by this operation.
    """
    from mpi4py import MPI

    from . import contenders, meta
    from .measure import measure

    mpi = (MPI.COMM_WORLD if mpi_comm is None else mpi_comm).Dup()
    with ExitStack() as stack:
        comm = stack.enter_context(Communicator(mpi))
        taking_part, left_out = contenders.gather(options, comm, mpi, stack)
        if not taking_part:
            reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
            raise WrongUsage(f"nothing to measure: {reasons}")
        about = meta.describe(options, comm.topology.describe(), left_out, command)
        if show is None or mpi.rank:
            show = silent
        show(report.header(about))
        rows = []
        for found in measure(taking_part, options, mpi):
            rows += found
            show(report.lines(found))
        show(report.footer(rows))
    mpi.Free()
    return Result(about, rows)


def silent(text: str) -> None:
    """Show nothing."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: all is well.  1: a result was wrong.  2: the command cannot be obeyed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(arguments)
    except WrongUsage as error:
        return refuse(error)
    from mpi4py import MPI

    try:
        return carry_out(options, arguments, MPI.COMM_WORLD)
    except (InvalidArgument, UnsupportedTopology, WrongUsage) as error:
        return refuse(error)  # raised by all ranks
    except Exception:
        end_job(MPI.COMM_WORLD)


def end_job(world: Any) -> NoReturn:
    """Print the error under way and end all ranks: they may wait for this one."""
    if world.rank:
        time.sleep(HEAD_START_S)
    sys.stdout.flush()
    sys.stderr.write(f"rank {world.rank}: {traceback.format_exc()}")
    sys.stderr.flush()
    world.Abort(1)
    os._exit(1)  # Abort returns, under MPICH, until the launcher ends the process


def carry_out(options: Options, arguments: list[str], world: Any) -> int:
    """Measure, show, and write the files; return the exit code."""
    problem = unwritable(options.json, options.csv) if world.rank == 0 else None
    problem = world.bcast(problem)
    if problem is not None:
        raise WrongUsage(problem)
    command = ["mpirun", "-np", str(world.size), *NAME.split(), *arguments]
    show = partial(print, flush=True)
    meta, rows = run(options, world, command=command, show=show)
    if world.rank == 0 and options.json:
        report.write_json(options.json, meta, rows)
    if world.rank == 0 and options.csv:
        report.write_csv(options.csv, rows)
    return 1 if report.wrong_elements(rows) else 0


def unwritable(*paths: str | None) -> str | None:
    """Say what is wrong with the files to write, before hours go into them."""
    for path in paths:
        folder = Path(path or "").absolute().parent
        if path and not (folder.is_dir() and os.access(folder, os.W_OK)):
            return f"cannot write {path!r}: {str(folder)!r} is no writable directory"
    return None


def refuse(error: Exception, name: str = NAME) -> int:
    """Say once, on rank 0, what all ranks have found wrong; return the exit code."""
    try:
        from mpi4py import MPI
    except ImportError:
        world = None
    else:
        world = MPI.COMM_WORLD
    if world is None or world.rank == 0:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
    if world is not None:
        world.Barrier()  # a launcher may end the others when the first one leaves
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
