"""Cores: how many threads a rank computes with, where ranks share a node."""

import os
from collections.abc import Sequence
from typing import Any

import torch


def use_cores(comm: Any) -> None:
    """Share the node's cores among its ranks' torch threads, unless the user has."""
    cores = comm.gather_objects(os.sched_getaffinity(0), root=0)
    cores = comm.broadcast_object(cores, root=0)
    if "OMP_NUM_THREADS" in os.environ:
        return
    node = next(node for node in comm.topology.nodes if comm.rank in node)
    torch.set_num_threads(share(cores[comm.rank], node=[cores[rank] for rank in node]))


def share(mine: set[int], *, node: Sequence[set[int]]) -> int:
    """Return how many threads a rank may use that is bound to the cores ``mine``.

    ``node`` are the cores of all ranks of its node, its own among them.  Where the
    launcher gave each its own cores these are all the rank's; else it shares them with
    the ranks that are bound to some of them too.
    """
    return max(1, len(mine) // sum(not mine.isdisjoint(other) for other in node))
