"""GPU: which of its node's GPUs a rank works on.

    mine = gpu.claim()                  # before mpi4py.MPI is imported
    comm = Communicator()
    number = gpu.settle(mine, comm)     # the same call on all ranks

Some transports of MPI want the GPU to be current when MPI begins, so it is chosen by
the local rank that the launcher has set.  What is wrong with the choice is told when
all ranks can be told.  Only GPUs that this process can see count: where the launcher
has masked all but one of them, that one is the rank's.
"""

import os
import platform
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from .device import library
from .errors import InvalidArgument

# What launchers call a process's place on its node.
LOCAL_RANKS = (
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "PALS_LOCAL_RANKID",
    "SLURM_LOCALID",
    "FLUX_TASK_LOCAL_ID",
)


class Claim(NamedTuple):
    """A rank's choice: the GPU's number here, its bus address, or what is wrong."""

    host: str
    told: bool  # the launcher has told the local rank
    number: int = 0
    visible: int = 0  # GPUs that this process can see
    address: str = ""
    problem: str | None = None


def local_rank(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return this process's place on its node as the launcher tells it, else None."""
    told = next(filter(None, map(environment.get, LOCAL_RANKS)), None)
    return None if told is None else int(told)


def claim(local: int | None = None) -> Claim:
    """Make a GPU the current one of this thread, for CuPy and for torch.

    It is number ``local`` (by default the local rank, else 0) of those this process can
    see; they are dealt out again where they are fewer.  It never fails: `settle` tells
    what is wrong.
    """
    host, told = platform.node(), local is not None
    try:
        if local is None:
            local = local_rank()
            told = local is not None
        cuda = library().cuda
        visible = int(cuda.runtime.getDeviceCount())
        if not visible:
            raise OSError("CUDA sees no GPU")
        number = (local or 0) % visible
        use(number)
        address = str(cuda.Device(number).pci_bus_id)
    except Exception as error:  # no driver, no GPU, no CuPy
        text = " ".join(str(error).split())
        masked = os.environ.get("CUDA_VISIBLE_DEVICES")
        if masked is not None:
            text += f" (CUDA_VISIBLE_DEVICES={masked})"
        return Claim(host, told, problem=text)
    return Claim(host, told, number, visible, address)


def use(number: int) -> None:
    """Make a GPU the current one of this thread, for CuPy and for torch."""
    library().cuda.Device(number).use()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.set_device(number)


def settle(mine: Claim, comm: Any, share: bool = False) -> int:
    """Return the number of this rank's GPU; all ranks of ``comm`` call it together.

    Where the launcher does not tell local ranks, the ranks choose again.

    Raises:
        InvalidArgument: on all ranks, if one has no GPU that it can use, or, without
            ``share``, if some have the same one.
    """
    claims = comm.gather_objects(mine, root=0)
    again = claims is not None and not all(one.told for one in claims)
    if comm.broadcast_object(again, root=0):
        mine = claim(comm.topology.node(comm.rank).index(comm.rank))
        claims = comm.gather_objects(mine, root=0)
    problem = None if claims is None else wrong(claims, share)
    problem = comm.broadcast_object(problem, root=0)
    if problem is not None:
        raise InvalidArgument(problem)
    use(mine.number)  # of torch too, if it has been imported since
    return mine.number


def wrong(claims: list[Claim], share: bool) -> str | None:
    """Say what is wrong with the claims of all ranks, None if nothing is."""
    owners: dict[tuple[str, str], int] = {}
    for rank, mine in enumerate(claims):
        if mine.problem is not None:
            return f"rank {rank} on {mine.host} has no GPU to use: {mine.problem}"
        owner = owners.setdefault((mine.host, mine.address), rank)
        if owner != rank and not share:
            return (
                f"ranks {owner} and {rank} would share GPU {mine.address} of "
                f"{mine.host}, where {mine.visible} can be seen: start as many ranks a "
                "node as it has GPUs, or allow it with --share-gpu (share=True)"
            )
    return None
