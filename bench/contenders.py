"""Contenders: everything that was asked for and can do this reduction here."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from typing import Any

import numpy as np

from collectives import Communicator

from . import baselines, elements
from .baselines import Bind, NotSupported
from .options import Options


def ours(comm: Communicator, algorithm: str, op: str) -> Bind:
    """Return `Communicator.allreduce` by one algorithm, as users call it."""

    def bind(x: Any, out: Any) -> Any:
        return lambda: comm.allreduce(x, op, out=out, algorithm=algorithm)

    return bind


def gather(
    options: Options, comm: Communicator, mpi: Any, stack: ExitStack, place: Any
) -> tuple[dict[str, Bind], dict[str, str]]:
    """Return the contenders by name, and those left out with the reasons.

    Each has reduced one element: a type or operation it lacks shows before anything is
    timed.  ``stack`` closes what they opened.
    """

    @cache
    def torch_ranks() -> Any:
        return stack.enter_context(baselines.gloo_group(mpi))

    taking_part, left_out = {}, {}
    for name in options.algorithms:
        try:
            bind = contender(name, options, comm, mpi, stack, torch_ranks)
            x, out = (one_element(options.dtype, place) for _ in range(2))
            place.timed(nobody_waits, bind(x, out))
            reason = None
        except (
            *(NotSupported, ImportError, KeyError),
            *(RuntimeError, TypeError, ValueError),
        ) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
        reasons = [text for text in mpi.allgather(reason) if text is not None]
        if reasons:
            left_out[name] = reasons[0]
        else:
            taking_part[name] = bind
    return taking_part, left_out


def one_element(dtype: str, place: Any) -> Any:
    """Return an array of one element as libraries are given it."""
    one = np.ones(1, elements.storage(dtype))
    buffer = place.empty(1, one.dtype)
    place.put(one, buffer)
    return elements.as_passed(dtype, buffer)


def nobody_waits() -> None:
    """Do not meet: another rank may have failed."""


def contender(
    name: str,
    options: Options,
    comm: Communicator,
    mpi: Any,
    stack: ExitStack,
    torch_ranks: Callable[[], Any],
) -> Bind:
    """Return one contender; ``torch_ranks()`` is torch.distributed on these ranks."""
    on_gpu = options.device == "cuda"
    if name == "native":
        make = baselines.native_on_gpu if on_gpu else baselines.native
        return make(mpi, options.op)
    if name == "gloo":
        return baselines.by_torch(torch_ranks(), options.op)
    if name == "nccl":
        if not on_gpu:
            raise NotSupported("NCCL takes device memory only: --device cuda")
        dist = torch_ranks()
        group = stack.enter_context(baselines.nccl_group(dist, mpi))
        return baselines.by_torch(dist, options.op, group)
    return ours(comm, name, options.op)
