"""Allreduce benchmark: our algorithms, the MPI library's and others', side by side.

    mpirun -np 4 python -m bench.allreduce --algorithms ring,torus2d,native --max 64M
    mpirun -np 2 python -m bench.allreduce --device cuda --max 256M

`run` does the same within a program.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from collectives import Communicator, InvalidArgument, gpu

from . import against, elements, files, plot, report
from .command import launched, unwritable
from .options import TIMEOUT_S, Options, parse
from .place import HOST, Gpu
from .row import Row

NAME = "python -m bench.allreduce"
ON_GPU = "until the result is there; device_us, in files, is between two events"


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
        InvalidArgument: no contender can reduce this type by this operation.
        InvalidArgument: a rank has no GPU of its own, where that was asked for.
    """
    claim = gpu.claim() if options.device == "cuda" else None
    from mpi4py import MPI

    from . import contenders, roofline
    from .measure import measure

    mpi = (MPI.COMM_WORLD if mpi_comm is None else mpi_comm).Dup()
    with ExitStack() as stack:
        comm = stack.enter_context(opened(options, mpi))
        if claim is not None:
            gpu.settle(claim, comm, options.share_gpu)
        place: Any = HOST if claim is None else Gpu(mpi)
        taking_part, left_out = contenders.gather(options, comm, mpi, stack, place)
        if not taking_part:
            reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
            raise InvalidArgument(f"nothing to measure: {reasons}")
        limit = roofline.find(mpi) if claim is None else roofline.ON_GPU
        registered = partial(comm.empty, device=options.device)
        empty = registered if options.registered else place.empty
        about = described(options, comm, mpi, left_out, command)
        about = mpi.bcast(about | {"roof": limit.text})  # clocks differ
        if show is None or mpi.rank:
            show = silent
        show(report.header(about))
        rows = []
        for found in measure(
            taking_part, options, mpi, roofline=limit, place=place, empty=empty
        ):
            rows += found
            show(report.lines(found))
        show(report.footer(rows))
    mpi.Free()
    return Result(about, rows)


def opened(options: Options, mpi: Any) -> Communicator:
    """Return the communicator to measure."""
    return Communicator(
        mpi,
        timeout_s=TIMEOUT_S,
        gpu_transport=options.gpu_transport,
        overlap=options.overlap,
    )


def described(
    options: Options,
    comm: Communicator,
    mpi: Any,
    left_out: dict[str, str],
    command: Sequence[str],
) -> dict[str, Any]:
    """Return the circumstances; all ranks call it."""
    from . import baselines, meta

    about = meta.describe(options, comm.topology.describe(), left_out, command)
    about["buffers"] = "ordinary"
    if options.registered:
        about["buffers"] = "registered, by Communicator.empty"
    if options.device == "cuda":
        about["buffers"] += ", on GPUs"
        about["native"] = baselines.said(mpi)
        about["time"] += f"; {ON_GPU}"
    elif "auto" in {*options.algorithms} - {*left_out}:
        about["auto"] = ", ".join(chosen(comm, options))
    return about


def silent(text: str) -> None:
    """Show nothing."""


def chosen(comm: Communicator, options: Options) -> list[str]:
    """Say what ``auto`` takes for each size, and whether a table says so."""
    lines = []
    for count in options.counts():
        nbytes = count * elements.storage(options.dtype).itemsize
        text = comm.explain(nbytes, options.dtype, options.registered)
        line = next(line for line in text.splitlines() if line.startswith("->"))
        lines.append(f"{nbytes}: {line[2:].rsplit(None, 3)[0].strip()}")
        known = line.rsplit(None, 1)[1]
    return [*lines, known]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: all is well.  1: a result was wrong.  2: the command cannot be obeyed.
    """
    return launched(NAME, parse, carry_out, arguments)


def carry_out(options: Options, command: list[str], world: Any) -> int:
    """Measure, show, and write the files; return the exit code."""
    old, problem = world.bcast(prepare(options) if world.rank == 0 else None)
    if problem is not None:
        raise InvalidArgument(problem)
    result = run(options, world, command=command, show=partial(print, flush=True))
    if world.rank == 0:
        if options.json:
            files.write_json(options.json, *result)
        if options.csv:
            files.write_csv(options.csv, result.rows)
        if options.plot:
            plot.draw(options.plot, *result)
        if options.compare and old is not None:
            print(against.report(options.compare, old, result, options.tolerance))
    return 1 if report.wrong_elements(result.rows) else 0


def prepare(options: Options) -> tuple[Result | None, str | None]:
    """Read what to compare with; or say what is wrong with the files, before hours."""
    try:
        old = Result(*files.read_json(options.compare)) if options.compare else None
        if options.plot:
            plot.check_matplotlib()
    except InvalidArgument as error:
        return None, str(error)
    return old, unwritable(options.json, options.csv, options.plot)


if __name__ == "__main__":
    raise SystemExit(main())
