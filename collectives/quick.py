"""Quick: calls on NumPy arrays that are as an earlier one, on one node."""

from typing import Any

import numpy as np

from .allreduce import Kind
from .endpoint import Endpoint


def known(
    end: Endpoint, x: Any, op: str, out: Any, algorithm: str
) -> tuple[np.ndarray, Kind, np.ndarray, np.ndarray] | None:
    """Look a call on NumPy arrays up that is as an earlier one, on one node.

    Return the output, the kind of the call, and both arrays flat; None where
    something needs a closer look.
    """
    if type(x) is not np.ndarray:
        return None
    dtype = x.dtype
    try:
        kind = end.quick.get((dtype, x.size, op, algorithm))
        if kind is None or not x.flags.c_contiguous:
            return None
        if out is None:
            out = np.empty(x.shape, dtype)
    except (TypeError, MemoryError):  # the other ranks shall hear of it
        return None
    flat = x if x.ndim == 1 else x.reshape(-1)
    if out is x:
        return (x, kind, flat, flat) if x.flags.writeable else None
    if type(out) is not np.ndarray or not out.flags.carray:
        return None
    if out.size != x.size or out.dtype is not dtype:
        return None
    owned = x.base is None and out.base is None
    if not owned and np.may_share_memory(x, out):
        return None
    return out, kind, flat, out if out.ndim == 1 else out.reshape(-1)
