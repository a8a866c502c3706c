"""Elements: the types the benchmark knows, and numbers as their bits.

Buffers are NumPy arrays, or CuPy's on a GPU.  These have no bfloat16: there the buffer
holds the upper halves of float32 numbers as uint16, and libraries see a torch tensor of
its memory.
"""

from typing import Any

import numpy as np

SIGNIFICAND = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}  # bits
DTYPES = (*SIGNIFICAND, "int8", "int16", "int32", "int64", "uint8")


def storage(dtype: str) -> np.dtype:
    """Return the NumPy type of a buffer."""
    return np.dtype(np.uint16 if dtype == "bfloat16" else dtype)


def encode(dtype: str, values: np.ndarray) -> np.ndarray:
    """Return numbers that ``dtype`` holds exactly as storage.

    >>> encode("bfloat16", np.array([1.0, 3.0])).tolist()
    [16256, 16448]
    """
    if dtype != "bfloat16":
        return values.astype(storage(dtype))
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def decode(dtype: str, data: np.ndarray) -> np.ndarray:
    """Return storage as numbers, float64."""
    if dtype == "bfloat16":
        data = (data.astype(np.uint32) << 16).view(np.float32)
    return data.astype(np.float64)


def as_passed(dtype: str, data: Any) -> Any:
    """Return a buffer as the array that is handed to a library, sharing memory."""
    if dtype != "bfloat16":
        return data
    import torch

    return tensor(data.view(np.uint8)).view(torch.bfloat16)


def tensor(data: Any) -> Any:
    """Return an array as a torch tensor, sharing memory; a tensor is one already.

    Raises:
        RuntimeError: it lies on a GPU, and torch sees none.
    """
    import torch
    from torch.utils.dlpack import from_dlpack

    if isinstance(data, torch.Tensor):
        return data
    if not isinstance(data, np.ndarray) and not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} sees no GPU")
    return from_dlpack(data)
