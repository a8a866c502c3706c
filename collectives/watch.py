"""Watch: when an operation stalls, find out who is missing and who waits for whom.

A rank whose deadline has passed tells all others what it is doing.  Ranks that wait
hear it and answer with the same; so after a moment everybody that takes part knows what
all of them do, and who has not answered.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .errors import RankFailed, Stalled

GRACE_S = 1.0  # waiting ranks listen every 0.05 s


class Report(NamedTuple):
    """What one rank does: the number and name of its operation, and where it waits."""

    number: int
    operation: str
    position: str
    left: bool = False  # it has left the operation with an error


class Watch:
    """Listen for alarms on ``mpi``, which nobody else may use."""

    def __init__(
        self, mpi: Any, report: Callable[[], Report], timeout_s: float
    ) -> None:
        """``report()`` tells what this rank does at the moment."""
        self.mpi, self.report, self.timeout_s = mpi, report, timeout_s
        self.sent: list[Any] = []

    def __call__(self, late: bool) -> None:
        """Sound the alarm if ``late``, answer one if another rank has sounded it.

        Raises:
            Stalled: there is an alarm; the message tells what all ranks do.
            RankFailed: a rank has left the operation.
        """
        if not late and not self.mpi.Iprobe():
            return
        size, rank = self.mpi.size, self.mpi.rank
        mine = self.report()
        self.send(mine)
        reports = {rank: mine}
        deadline = time.monotonic() + GRACE_S
        while len(reports) < size and time.monotonic() < deadline:
            status = self.status()
            if self.mpi.Iprobe(status=status):
                src = status.Get_source()
                reports[src] = Report(*self.mpi.recv(source=src))
            else:
                time.sleep(0.005)
        left = any(report.left for report in reports.values())
        raise (RankFailed if left else Stalled)(
            diagnosis(mine, reports, size, self.timeout_s)
        )

    def leave(self, error: str) -> None:
        """Tell the others that this rank has left the operation with an error."""
        position = f"left it with {error}"
        self.send(self.report()._replace(position=position, left=True))

    def send(self, report: Report) -> None:
        """Send a report to all others, without waiting for them."""
        for peer in range(self.mpi.size):
            if peer != self.mpi.rank:
                self.sent.append(self.mpi.isend(tuple(report), peer))

    def status(self) -> Any:
        """Return a new MPI status."""
        from mpi4py import MPI

        return MPI.Status()


def diagnosis(
    mine: Report, reports: dict[int, Report], size: int, timeout_s: float
) -> str:
    """Write down who is missing or has left, and what the others wait for."""
    number = max(report.number for report in reports.values())
    name = next(r.operation for r in reports.values() if r.number == number)
    gone = [str(rank) for rank, report in sorted(reports.items()) if report.left]
    if gone:
        lines = [f"operation {number}, {name}: rank {', '.join(gone)} left it"]
    else:
        lines = [f"operation {number}, {name}: no progress within {timeout_s:g} s"]
    silent = [str(rank) for rank in range(size) if rank not in reports]
    if silent:
        lines.append(
            f"rank{'s' * (len(silent) > 1)} {', '.join(silent)} did not come to it: "
            "still computing, waiting for something else, or dead"
        )
    for rank, report in sorted(reports.items()):
        other = "" if report.number == number else f"is at {report.number}, "
        other += "" if report.operation == name else f"{report.operation}: "
        lines.append(f"rank {rank} {other}{report.position}")
    return "\n  ".join(lines)
