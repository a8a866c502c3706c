"""Study of large batches: why the recipes exist, and whether it can be shown here.

    python -m bench.largebatch --json reduced.json
    mpiexec -n 2 python -m bench.largebatch --full --json full.json --plot full.svg
    python -m bench.largebatch --report full.json --plot full.svg --rst full.rst

Twelve arms train a small net on 20 glyphs, at batches from 64 to 8,192; what they were
expected to show is written down in `bench.study.verdict`, and the report says what held
and what did not.  Ranks share the runs out; a run whose outcome is in the file is not
made again.  The third command only draws and writes.  The reduced form takes minutes,
the full one two hours of one core; set OMP_NUM_THREADS=1, as the products are small.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectives import InvalidArgument, abort_on_exception, usage

from .command import refuse, unwritable
from .options import check_plot

NAME = "python -m bench.largebatch"


@dataclass(frozen=True)
class Options:
    """What to do."""

    full: bool
    json: str
    plot: str | None
    rst: str | None
    report: str | None


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line.

    Raises:
        InvalidArgument: it cannot be obeyed.
    """
    parser = usage.Parser(prog=NAME, description="Study the recipes at large batches.")
    add = parser.add_argument
    add("--full", action="store_true", help="the whole study, not its reduced form")
    add("--json", default="largebatch.json", help="to write, and to go on from")
    add("--plot", metavar="out.svg", help="picture to write; .svg or .png")
    add("--rst", metavar="out.rst", help="report to write; it is shown in any case")
    add("--report", metavar="OLD.json", help="make no run: report what this has")
    options = Options(**vars(parser.parse_args(arguments)))
    if options.report is not None and options.full:
        raise InvalidArgument("--report makes no run: leave --full out")
    if options.plot is not None:
        check_plot(options.plot)
    return options


def prepare(options: Options, command: Sequence[str], layout: str) -> Any:
    """Check the files, and return the record to begin with.

    Raises:
        InvalidArgument: a file cannot be read or written, or nothing can draw.
    """
    from . import meta, plot
    from .study import record, task

    if options.plot is not None:
        plot.check_matplotlib()
    json = None if options.report else options.json
    problem = unwritable(json, options.plot, options.rst)
    if problem is not None:
        raise InvalidArgument(problem)
    if options.report is not None:
        return record.read(options.report)
    about = meta.describe(options, layout, {}, command, mpi=False)
    about["time"] = "of a run, on a rank of its own"
    return record.resume(
        options.json, about, task.FULL if options.full else task.REDUCED
    )


def study(found: Any, mpi: Any, path: str, show: Callable[[str], None]) -> None:
    """Make all runs that the record lacks; rank 0 writes it after each."""
    from .study import plan, record, report, share, task

    size = report.sized(found)
    if mpi.size > 1 and found.equality is None:
        found.equality = share.demonstrate(mpi)._asdict()
        if mpi.rank == 0:
            record.write(path, found)
    tuning = plan.left(plan.tuning(size), found.tuning)
    data = task.data(size)

    def make(runs: Sequence[Any], rows: list[Any]) -> None:
        def finished(outcome: Any) -> None:
            rows.append(outcome)
            record.write(path, found)
            show(line(outcome, len(rows)))

        outcomes = share.carry_out(runs, data, mpi, finished)
        if mpi.rank != 0:
            rows.extend(outcomes)

    make(tuning, found.tuning)
    rates = plan.tuned(found.tuning)
    runs = plan.runs(size, rates)
    show(f"rates: SGD {rates.sgd:g}, LARS {rates.lars:g}; {len(runs)} runs")
    make(plan.left(runs, found.rows), found.rows)


def line(outcome: Any, count: int) -> str:
    """Return the line that a finished run is shown by."""
    end = "diverged" if outcome.diverged else f"{outcome.error:.2f} %"
    return (
        f"{count:4}  {outcome.arm:4} B {outcome.batch:<5} seed {outcome.seed}  rate "
        f"{outcome.rate:<7g} {end:9} {outcome.seconds:6.1f} s"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code: 0, or 2 if it cannot be obeyed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(arguments)
    except InvalidArgument as error:
        return refuse(error, NAME)
    from .study import share

    mpi = share.world()
    if mpi.size > 1:
        abort_on_exception()
    return carry_out(options, [*NAME.split(), *arguments], mpi)


def carry_out(options: Options, command: Sequence[str], mpi: Any) -> int:
    """Make the study, or only read it; show the report and write the files."""
    from .study import picture, report

    found, problem = None, None
    if mpi.rank == 0:
        plural = "s" if mpi.size > 1 else ""
        try:
            found = prepare(options, command, f"{mpi.size} rank{plural}")
        except InvalidArgument as error:
            problem = str(error)
    found, problem = mpi.bcast((found, problem))
    if problem is not None:
        return refuse(InvalidArgument(problem), NAME)
    if options.report is None:
        study(found, mpi, options.json, printer(mpi.rank))
    if mpi.rank == 0:
        text = report.text(found)
        print(text, end="", flush=True)
        if options.rst:
            Path(options.rst).write_text(text, "utf-8")
        if options.plot:
            picture.draw(options.plot, found)
    return 0


def printer(rank: int) -> Callable[[str], None]:
    """Return what shows a line, on rank 0 only."""

    def show(text: str) -> None:
        if rank == 0:
            print(text, flush=True)

    return show


if __name__ == "__main__":
    raise SystemExit(main())
