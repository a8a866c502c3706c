r"""Allreduce benchmark under several MPIs, in turn, into one table.

    python -m bench.lanes --np 2,4 --rounds 3 \
        --lane "mpich=.venv/bin/mpiexec -n {np} .venv/bin/python" \
        --lane "impi=.venv-impi/bin/mpiexec -n {np} .venv-impi/bin/python" \
        -- --algorithms auto,native,gloo --max 64M

What follows ``--`` goes to ``bench.allreduce`` as it is.  ``native`` is always the MPI
underneath, so a ratio compares within a lane.  Every round starts each lane once, each
round another one first, so that a disturbance of the machine meets all of them.  This
command itself needs no MPI.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from collectives import InvalidArgument, usage

from . import lane_table
from .command import unwritable
from .lane_table import Finding, LaneRow
from .launches import Lane, LaneFailed, measured, read_lane

NAME = "python -m bench.lanes"
RATIO = "time of the lane's native / time; numbers are medians over the rounds"


class Plan(NamedTuple):
    """What to start, how often, and where the results go."""

    lanes: list[Lane]
    ranks: list[int]
    rounds: int
    timeout_s: float
    json: str | None
    csv: str | None
    options: list[str]  # of bench.allreduce

    def launches(self) -> Iterator[tuple[int, int, Lane]]:
        """Yield round, ranks and lane in the order of their start."""
        for i in range(self.rounds):
            first = i % len(self.lanes)
            for ranks in self.ranks:
                for lane in self.lanes[first:] + self.lanes[:first]:
                    yield i + 1, ranks, lane


def run(plan: Plan, command: Sequence[str]) -> tuple[dict[str, Any], list[LaneRow]]:
    """Start everything in turn; return the circumstances, and the medians.

    Raises:
        LaneFailed: a launch failed; the rest is not started.
    """
    meta: dict[str, Any] = {
        "command": shlex.join(command),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rounds": plan.rounds,
        "ratio": RATIO,
    }
    findings = []
    for i, ranks, lane in plan.launches():
        begin = time.monotonic()
        with TemporaryDirectory(prefix="bench-lanes-") as folder:
            found = measured(lane, ranks, plan.options, Path(folder), plan.timeout_s)
        findings.append(Finding(lane.name, ranks, found["meta"], found["rows"]))
        done = f"{lane.name}, {ranks} ranks: {time.monotonic() - begin:.0f} s"
        print(f"# round {i} of {plan.rounds}, {done}", file=sys.stderr, flush=True)
    findings.sort(key=lambda one: [lane.name for lane in plan.lanes].index(one.lane))
    return meta | lane_table.about(findings), lane_table.medians(findings)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: all is well.  1: a lane failed.  2: the command cannot be obeyed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        plan = parse(arguments)
        meta, rows = run(plan, [*NAME.split(), *arguments])
    except (InvalidArgument, LaneFailed) as error:
        print(f"{NAME}: {error}", file=sys.stderr, flush=True)
        return 2 if isinstance(error, InvalidArgument) else 1
    print(lane_table.text(meta, rows), flush=True)
    if plan.json:
        lane_table.write_json(plan.json, meta, rows)
    if plan.csv:
        lane_table.write_csv(plan.csv, rows)
    return 0


def parse(arguments: Sequence[str]) -> Plan:
    """Read the command line; what follows ``--`` stays as it is.

    Raises:
        InvalidArgument: it has a mistake.
        SystemExit: it asks for help.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = parser().parse_args(arguments[:end])
    lanes = [read_lane(text) for text in given.lane]
    names = [lane.name for lane in lanes]
    if len(set(names)) < len(names):
        raise InvalidArgument(f"--lane: a name twice in {', '.join(names)}")
    for option in ("rounds", "timeout_s"):
        if getattr(given, option) < 1:
            name, value = option.replace("_", "-"), getattr(given, option)
            raise InvalidArgument(f"--{name} {value:g}: expected at least 1")
    problem = unwritable(given.json, given.csv)
    if problem is not None:
        raise InvalidArgument(problem)
    return Plan(
        lanes,
        given.np,
        given.rounds,
        given.timeout_s,
        given.json,
        given.csv,
        list(arguments[end + 1 :]),
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of what stands before ``--``."""
    result = usage.Parser(
        prog=NAME,
        usage="%(prog)s --lane NAME=LAUNCH [--lane ...] [options] -- [its options]",
        description="Run bench.allreduce under several MPIs in turn: one table.",
        epilog="What follows -- goes to bench.allreduce as it is.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add(
        "--lane",
        action="append",
        required=True,
        metavar="NAME=LAUNCH",
        help="an MPI: what starts Python, with {np} for the number of ranks",
    )
    add("--np", type=read_ranks, default=[2], metavar="N,M,...", help="ranks")
    add("--rounds", type=int, default=3, help="launches of each lane")
    add("--timeout-s", type=float, default=900, help="of one launch, in seconds")
    add("--json", metavar="FILE", help="write the medians, and the circumstances")
    add("--csv", metavar="FILE", help="write the medians, flat")
    return result


def read_ranks(text: str) -> list[int]:
    """Read numbers of ranks, separated by commas or spaces.

    >>> read_ranks("2,4")
    [2, 4]
    """
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() and int(word) for word in words):
        raise argparse.ArgumentTypeError(f"{text!r}: expected ranks like 2,4")
    return [int(word) for word in words]


if __name__ == "__main__":
    raise SystemExit(main())
