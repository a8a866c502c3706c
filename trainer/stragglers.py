"""Stragglers: which ranks the others wait for.

All ranks finish an update together, so the time of an update tells nothing.  What tells
is how long each rank computes before its gradients are complete, from asking for images
to the end of the backward pass: the slow ones compute long and wait little.  The ranks'
times are compared once an interval, with the line of the log.
"""

from typing import Any

import numpy as np

SHOWN = 3  # ranks, in the line at the end


class Stragglers:
    """Times of this rank, and on all ranks those of everybody."""

    def __init__(self, comm: Any):
        """Nothing has been noted."""
        self.comm = comm
        self.mine = np.zeros(3)  # updates, seconds computed, seconds waited
        self.everyone = np.zeros((comm.size, 3))  # of all intervals
        self.slowest = np.zeros(comm.size, np.int64)  # intervals that it was slowest in

    def note(self, computed_s: float, waited_s: float) -> None:
        """Note an update of this rank."""
        self.mine += 1, computed_s, waited_s

    def compare(self) -> dict[str, Any]:
        """Compare the updates since the last time; all ranks call this together.

        Returns the seconds of an update that ranks computed (``compute_s`` their mean,
        ``compute_max_s``) and waited (``wait_s``, mean), and the ``slowest_rank``.
        """
        rows = self.comm.allgather(self.mine)
        self.mine = np.zeros(3)
        self.everyone += rows
        computed, waited = rows[:, 1:].T / max(1, rows[0, 0])
        slowest = int(computed.argmax())
        self.slowest[slowest] += 1
        return {
            "compute_s": float(computed.mean()),
            "compute_max_s": float(computed.max()),
            "wait_s": float(waited.mean()),
            "slowest_rank": slowest,
        }

    def report(self) -> dict[str, Any]:
        """Return the whole run, each rank's mean seconds of an update by rank.

        Updates not yet compared are an interval of their own; all ranks call this
        together.
        """
        if self.mine[0]:
            self.compare()
        updates = max(1, self.everyone[0, 0])
        return {
            "updates": int(self.everyone[0, 0]),
            "compute_s": (self.everyone[:, 1] / updates).tolist(),
            "wait_s": (self.everyone[:, 2] / updates).tolist(),
            "intervals_slowest": self.slowest.tolist(),
            "node": list(self.comm.topology.node_of),
        }


def line(report: dict[str, Any]) -> str:
    """Say in one line who was slow, for people."""
    computed = np.array(report["compute_s"])
    order = np.argsort(-computed, kind="stable")[:SHOWN]
    ranks = (
        f"rank {rank} {1000 * computed[rank]:.1f} ms "
        f"(node {report['node'][rank]}, slowest in "
        f"{report['intervals_slowest'][rank]} of {sum(report['intervals_slowest'])} "
        "intervals)"
        for rank in order.tolist()
    )
    return (
        f"computing an update: mean {1000 * computed.mean():.1f} ms, max "
        f"{1000 * computed.max():.1f} ms; slowest: {', '.join(ranks)}"
    )
