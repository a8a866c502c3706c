"""Inputs whose results are exact in every dtype and order, and differ on every rank."""

from functools import reduce

import numpy as np
import torch

from collectives import algorithms
from collectives.arrays import DTYPES

torch.set_num_threads(1)

UFUNCS = {"sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum}
FLOATS = [name for name, dtype in DTYPES.items() if dtype.floating]
HALVES = ["float16", "bfloat16"]


def values(rank, size, count, op="sum"):
    """Return small integers as float64: sums of 8 ranks stay below 2**6."""
    place = np.arange(count)
    if op == "prod":
        return np.where((place + rank) % 3 == 0, 2.0, 1.0)
    return (place * (rank + 3) + rank) % 7 + 1.0


def result(size, count, op="sum"):
    """Return what `values` of all ranks combine to, as float64."""
    inputs = [values(rank, size, count, op) for rank in range(size)]
    if op == "mean":
        return sum(inputs) / size
    return reduce(UFUNCS[op], inputs)


def array_of(x, dtype, kind="numpy"):
    """Return values as an array; bfloat16 is always a tensor."""
    if kind == "torch" or dtype == "bfloat16":
        return torch.from_numpy(np.array(x)).to(getattr(torch, dtype))
    return np.asarray(x).astype(dtype)


def plain(x):
    """Return an array as float64."""
    return x.double().numpy() if isinstance(x, torch.Tensor) else x.astype(float)


def bits(x):
    """Return the bytes of an array."""
    if isinstance(x, torch.Tensor):
        x = x.view(torch.int16) if x.dtype == torch.bfloat16 else x
        return x.contiguous().numpy().tobytes()
    return x.tobytes()


def counts(size):
    return sorted({0, 1, size - 1, size, 3 * size + 1, 10007})


def can(algorithm, dtype, op="sum", wire=None):
    """Say whether the algorithm combines the dtype: only the MPI library cannot."""
    if algorithm != "native":
        return True
    from collectives.transports.mpi import adds

    return wire in (None, dtype) and adds(DTYPES[dtype], "sum" if op == "mean" else op)


ALGORITHMS = algorithms.names()
EVERY_DTYPE = list(DTYPES)
EVERY_OP = ["sum", "mean", "prod", "min", "max"]
