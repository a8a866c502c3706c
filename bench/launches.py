"""Launches: the benchmark under the launcher of one MPI, ended in time."""

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from collectives import InvalidArgument, job

BENCHMARK = ("-m", "bench.allreduce")
RANKS = "{np}"  # stands for the number of ranks in the launch of a lane
TAIL_LINES = 15


class LaneFailed(Exception):
    """The benchmark of a lane did not come to its end; the message shows its output."""


class Lane(NamedTuple):
    """An MPI: its name in the table, and what starts Python on ``{np}`` ranks."""

    name: str
    launch: tuple[str, ...]

    def command(self, ranks: int, options: Sequence[str]) -> list[str]:
        """Return the command that measures on ``ranks`` ranks.

        >>> Lane("mpich", ("mpiexec", "-n", "{np}", "python")).command(2, ["-b", "8"])
        ['mpiexec', '-n', '2', 'python', '-m', 'bench.allreduce', '-b', '8']
        """
        start = [word.replace(RANKS, str(ranks)) for word in self.launch]
        return [*start, *BENCHMARK, *options]


def read_lane(text: str) -> Lane:
    """Read ``NAME=LAUNCH``, words as in a shell.

    Raises:
        InvalidArgument: there is no name, no ``{np}``, or no such program.
    """
    name, equals, launch = text.partition("=")
    try:
        words = tuple(shlex.split(launch))
    except ValueError as error:
        raise InvalidArgument(f"--lane {text!r}: {error}") from None
    if not (equals and name and any(RANKS in word for word in words)):
        raise InvalidArgument(
            f"--lane {text!r}: expected a name and what starts Python, with {RANKS} "
            f"for the number of ranks, like 'mpich=mpiexec -n {RANKS} python'"
        )
    if shutil.which(words[0]) is None:
        raise InvalidArgument(f"--lane {name}: there is no program {words[0]!r}")
    return Lane(name, words)


def measured(
    lane: Lane, ranks: int, options: Sequence[str], folder: Path, timeout_s: float
) -> dict[str, Any]:
    """Run the benchmark; return ``{"meta": ..., "rows": ...}`` as it wrote them.

    ``folder`` is for its files.

    Raises:
        LaneFailed: it exceeded ``timeout_s``, failed, found wrong elements, or wrote
            no file.
    """
    found, log = folder / "found.json", folder / "output.txt"
    found.unlink(missing_ok=True)
    command = lane.command(ranks, [*options, "--json", str(found)])
    with log.open("wb") as output:
        code = job.exit_code(command, output, timeout_s)
    where = f"lane {lane.name}, {ranks} ranks"
    if code is None:
        what = f"did not end within {timeout_s:g} s"
    elif code:
        what = f"ended with exit code {code}"
    elif not found.exists():
        what = "ended with exit code 0, but left no results"
    else:
        results: dict[str, Any] = json.loads(found.read_text("utf-8"))
        return results
    raise LaneFailed(f"{where}, {what}: {shlex.join(command)}\n{tail(log)}")


def tail(log: Path) -> str:
    """Return the end of what a command printed."""
    lines = log.read_text("utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return "\n  ".join(["its last output:", *(lines or ["(nothing)"])])
