"""Seats: where all ranks' arrays are, and whether NCCL can join them.

Ranks that share a GPU can be joined only where the environment of all of them says so
before they start:

    NCCL 2.30 and later   NCCL_MULTI_RANK_GPU_ENABLE=1, which is experimental
    since 2.5             NCCL_HOSTID, another one for each rank: they then take each
                          other for ranks of other hosts, and talk through sockets

NCCL user guide, "Environment Variables".  What is said of these comes from its source,
src/init.cc and src/misc/utils.cc of 2.30.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..device import library
from ..errors import UnsupportedArray
from ..mapped import nccl_version
from ..topology import Topology
from . import bindings

SEVERAL = 23000  # the first version that lets ranks share a GPU when it is told to
MULTI, HOST = "NCCL_MULTI_RANK_GPU_ENABLE", "NCCL_HOSTID"
CURE = f"start all with {MULTI}=1 (NCCL 2.30), or each with its own {HOST}"


class Seat(NamedTuple):
    """Where a rank's arrays are, and which NCCL serves it."""

    gpu: str  # the address on the bus
    version: int | None
    lack: str  # why there is no version
    shares: bool = False  # the environment lets ranks share a GPU
    host: str = ""  # by which name NCCL knows the host, if it is told one


def seat(number: int) -> Seat:
    """Return that of this rank, whose arrays are on GPU ``number`` of its process."""
    gpu = str(library().cuda.Device(number).pci_bus_id)
    shares = os.environ.get(MULTI, "").strip() == "1"
    host = os.environ.get(HOST, "").strip()
    try:
        return Seat(gpu, bindings.find().version(), "", shares, host)
    except UnsupportedArray as error:
        return Seat(gpu, None, str(error), shares, host)


def sharing(environment: Mapping[str, str], version: int) -> str:
    """Say whether ranks may share a GPU where this is every rank's environment."""
    if environment.get(HOST, "").strip():
        return f"takes ranks that share a GPU if their {HOST} differ"
    if environment.get(MULTI, "").strip() != "1":
        return f"takes one rank a GPU (to share: {CURE})"
    if version < SEVERAL:
        return f"takes one rank a GPU ({MULTI} is known since NCCL 2.30)"
    return "takes ranks that share a GPU"


def unusable(seats: Sequence[Seat], topology: Topology) -> str | None:
    """Say why group calls become messages; None if NCCL carries them out.

    It is the same on all ranks, whose schedules must agree.
    """
    if all(len(node) == 1 for node in topology.nodes):
        return "one a node, nothing to join"
    for rank, one in enumerate(seats):
        if one.version is None:
            return f"messages, rank {rank}: {one.lack}"
        if one.version != seats[0].version:
            versions = [nccl_version(s.version or 0) for s in (seats[0], one)]
            return f"messages, NCCL is {' on rank 0, '.join(versions)} on rank {rank}"
    for node in topology.nodes:
        for i, rank in enumerate(node):
            for other in node[:i]:
                if not together(seats[other], seats[rank]):
                    return f"messages, ranks {other} and {rank} share a GPU: {CURE}"
    return None


def together(a: Seat, b: Seat) -> bool:
    """Say whether NCCL takes both into a communicator."""
    if a.gpu != b.gpu or (a.host and b.host and a.host != b.host):
        return True
    return a.shares and b.shares and (a.version or 0) >= SEVERAL
