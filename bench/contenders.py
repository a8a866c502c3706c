"""Contenders: everything that was asked for and can do this reduction here."""

from contextlib import ExitStack
from typing import Any

import numpy as np

from collectives import Communicator

from . import elements
from .baselines import Bind, NotSupported, gloo, gloo_group, native
from .options import Options


def ours(comm: Communicator, algorithm: str, op: str) -> Bind:
    """Return `Communicator.allreduce` by one algorithm, as users call it."""

    def bind(x: Any, out: Any) -> Any:
        return lambda: comm.allreduce(x, op, out=out, algorithm=algorithm)

    return bind


def gather(
    options: Options, comm: Communicator, mpi: Any, stack: ExitStack
) -> tuple[dict[str, Bind], dict[str, str]]:
    """Return the contenders by name, and those left out with the reasons.

    Each has reduced one element: a type or operation it lacks shows before anything is
    timed.  ``stack`` closes what they opened.
    """
    storage = elements.storage(options.dtype)
    taking_part, left_out = {}, {}
    for name in options.algorithms:
        try:
            bind = contender(name, options, comm, mpi, stack)
            x = elements.as_passed(options.dtype, np.ones(1, storage))
            bind(x, elements.as_passed(options.dtype, np.ones(1, storage)))()
            reason = None
        except (NotSupported, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
        reasons = [text for text in mpi.allgather(reason) if text is not None]
        if reasons:
            left_out[name] = reasons[0]
        else:
            taking_part[name] = bind
    return taking_part, left_out


def contender(
    name: str, options: Options, comm: Communicator, mpi: Any, stack: ExitStack
) -> Bind:
    """Return one contender."""
    if name == "native":
        return native(mpi, options.op)
    if name == "gloo":
        return gloo(stack.enter_context(gloo_group(mpi)), options.op)
    return ours(comm, name, options.op)
