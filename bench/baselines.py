"""Baselines: the MPI library's allreduce, and torch.distributed's over gloo and NCCL.

A contender is a function ``bind(x, out)``: it prepares what is not to be timed, and
returns the call that leaves the reduction of all ranks' ``x`` in ``out``, which may be
``x``.  All baselines make the mean from the sum, and divide it themselves.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np

from collectives import aware, gpu, host

from .elements import tensor
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
        check_reduced(x)
        send = MPI.IN_PLACE if out is x else x

        def call() -> None:
            mpi.Allreduce(send, out, reduction)
            if op == "mean":
                np.divide(out, mpi.size, out=out)

        return call

    return bind


def native_copied(mpi: Any, op: str) -> Bind:
    """Return what is left to a user whose MPI takes no device memory: copy it.

    The copy lies in ordinary memory of the host, as NumPy allocates it.
    """

    def bind(x: Any, out: Any) -> Callable[[], Any]:
        check_reduced(x)
        copy = np.empty(x.size, x.dtype)
        reduce = native(mpi, op)(copy, copy)

        def call() -> None:
            x.get(out=copy)
            reduce()
            out.set(copy)

        return call

    return bind


def check_reduced(x: Any) -> None:
    """Check that MPI has a reduction of this array.

    Raises:
        NotSupported: it is a tensor; handed over all the same, it would be reduced as
            bytes.
    """
    if not isinstance(x.dtype, np.dtype):
        raise NotSupported(f"MPI has no reduction of {x.dtype}")


def native_on_gpu(mpi: Any, op: str) -> Bind:
    """Return ``MPI_Allreduce`` of device memory, of copies where MPI takes none."""
    return (native if refusal(mpi) is None else native_copied)(mpi, op)


def refusal(mpi: Any) -> str | None:
    """Say why MPI is given no device memory, alike on all ranks; None if it is."""
    verdicts = mpi.allgather(aware.verdict(mpi))
    least = next((str(one) for one in verdicts if one.aware is not True), None)
    return None if least is None else f"{host.library()} is {least}"


def said(mpi: Any) -> str:
    """Say what ``native`` is on GPUs, alike on all ranks."""
    reason = refusal(mpi)
    if reason is None:
        return "MPI_Allreduce of device memory"
    return f"MPI_Allreduce of a copy in ordinary host memory, and back: {reason}"


def by_torch(dist: Any, op: str, group: Any = None) -> Bind:
    """Return ``torch.distributed.all_reduce``; it works in place, so ``x`` is copied.

    ``dist`` is torch.distributed as `gloo_group` opens it; ``group`` another group.
    """
    ops = {"prod": "PRODUCT", "min": "MIN", "max": "MAX"}
    reduction = getattr(dist.ReduceOp, ops.get(op, "SUM"))
    size = dist.get_world_size()

    def bind(x: Any, out: Any) -> Callable[[], Any]:
        source, target = tensor(x), tensor(out)

        def call() -> None:
            if out is not x:
                target.copy_(source)
            dist.all_reduce(target, reduction, group=group)
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


@contextmanager
def nccl_group(dist: Any, mpi: Any) -> Iterator[Any]:
    """Open a group over NCCL beside that of `gloo_group`, and close it after.

    Each rank brings its current GPU.

    Raises:
        NotSupported: on all ranks, if torch has no NCCL or a rank's sees no GPU, or if
            some ranks share one.
    """
    import cupy
    import torch

    problem = None
    if not torch.cuda.is_available():
        problem = f"torch {torch.__version__} sees no GPU"
    elif not dist.is_nccl_available():
        problem = f"torch {torch.__version__} is built without NCCL"
    for text in mpi.allgather(problem):
        if text is not None:
            raise NotSupported(text)
    here = gpu.claim(int(cupy.cuda.Device().id))  # for torch, too
    if gpu.wrong(mpi.allgather(here), share=False):
        raise NotSupported("NCCL takes one rank a GPU, some ranks share one")
    group = dist.new_group(backend="nccl", timeout=LIMIT)
    try:
        yield group
    finally:
        dist.destroy_process_group(group)


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
