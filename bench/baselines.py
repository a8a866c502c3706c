"""Baselines: the MPI library's own allreduce, and torch.distributed's over gloo.

A contender is a function ``bind(x, out)``: it prepares what is not to be timed, and
returns the call that leaves the reduction of all ranks' ``x`` in ``out``, which may be
``x``.  Both baselines make the mean from the sum, and divide it themselves.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np

from .options import TIMEOUT_S

Bind = Callable[[Any, Any], Callable[[], Any]]

LIMIT = timedelta(seconds=TIMEOUT_S)


class NotSupported(Exception):
    """A contender cannot take part; the message says why."""


def native(mpi: Any, op: str) -> Bind:
    """Return ``MPI_Allreduce`` as mpi4py calls it."""
    from mpi4py import MPI

    ops = {"sum": MPI.SUM, "prod": MPI.PROD, "min": MPI.MIN, "max": MPI.MAX}
    reduction = ops.get(op, MPI.SUM)

    def bind(x: Any, out: Any) -> Callable[[], Any]:
        if not isinstance(x, np.ndarray):
            # Handed over all the same, a tensor would be reduced as bytes.
            raise NotSupported(f"MPI has no reduction of {x.dtype}")
        send = MPI.IN_PLACE if out is x else x

        def call() -> None:
            mpi.Allreduce(send, out, reduction)
            if op == "mean":
                np.divide(out, mpi.size, out=out)

        return call

    return bind


def gloo(group: Any, op: str) -> Bind:
    """Return ``torch.distributed.all_reduce``; it works in place, so ``x`` is copied.

    ``group`` is torch.distributed with a process group, as `gloo_group` opens it.
    """
    import torch

    ops = {"prod": "PRODUCT", "min": "MIN", "max": "MAX"}
    reduction = getattr(group.ReduceOp, ops.get(op, "SUM"))
    size = group.get_world_size()

    def bind(x: Any, out: Any) -> Callable[[], Any]:
        source, target = torch.as_tensor(x), torch.as_tensor(out)

        def call() -> None:
            if out is not x:
                target.copy_(source)
            group.all_reduce(target, reduction)
            if op == "mean":
                target.div_(size)

        return call

    return bind


@contextmanager
def gloo_group(mpi: Any) -> Iterator[Any]:
    """Open torch.distributed over gloo on the ranks of ``mpi``, and close it after.

    Raises:
        NotSupported: torch is not installed, has no gloo, or is already in use.
    """
    try:
        import torch.distributed as dist
    except ImportError:
        raise NotSupported("torch is not installed") from None
    if not (dist.is_available() and dist.is_gloo_available()):
        raise NotSupported("this torch is built without gloo")
    if dist.is_initialized():
        raise NotSupported("torch.distributed has a process group already")
    store = meeting_place(dist, mpi)
    dist.init_process_group(
        "gloo", store=store, rank=mpi.rank, world_size=mpi.size, timeout=LIMIT
    )
    try:
        yield dist
    finally:
        dist.destroy_process_group()
    # The store lives on rank 0 until all have left; after an error, which may be one
    # rank's alone, nobody is waited for.
    mpi.Barrier()


def meeting_place(dist: Any, mpi: Any) -> Any:
    """Return a store on a free port of rank 0, which MPI tells to the others.

    Raises:
        NotSupported: rank 0 cannot listen.
    """
    from mpi4py import MPI

    hosts = mpi.allgather(MPI.Get_processor_name())
    host = "127.0.0.1" if len(set(hosts)) == 1 else socket.gethostname()
    store = port = problem = None
    if mpi.rank == 0:
        try:
            store = dist.TCPStore(
                host, 0, mpi.size, True, LIMIT, wait_for_workers=False
            )
            port = store.port
        except RuntimeError as error:
            problem = str(error)
    host, port, problem = mpi.bcast((host, port, problem))
    if problem is not None:
        raise NotSupported(f"rank 0 cannot listen on {host}: {problem}")
    return store or dist.TCPStore(host, port, mpi.size, False, LIMIT)
