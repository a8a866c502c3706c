"""Flat gradient buckets: the memory that the gradients of `trainer.fusion` share."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# NumPy has no bfloat16: such a bucket is allocated as words of the same width
NUMPY_DTYPE = {
    torch.float16: np.float16,
    torch.bfloat16: np.uint16,
    torch.float32: np.float32,
    torch.float64: np.float64,
}


@dataclass
class Bucket:
    """Gradients of some parameters, end to end in ``flat``."""

    names: list[str]
    parameters: list[nn.Parameter]
    flat: Tensor
    algorithm: str = "auto"
    missing: set[nn.Parameter] = field(default_factory=set)  # gradients still to come
    work: Any = None  # the unfinished allreduce


def nbytes(parameter: Tensor) -> int:
    """Return the bytes of the parameter's gradient."""
    return parameter.numel() * parameter.element_size()


def allocate(comm: Any, parameters: Iterable[Tensor]) -> dict[Any, Tensor]:
    """Take from ``comm`` what all gradients need: a flat tensor of each dtype.

    It lies on the parameters' device.
    """
    counts: dict[Any, int] = {}
    for parameter in parameters:
        counts[parameter.dtype] = counts.get(parameter.dtype, 0) + parameter.numel()
        device = parameter.device.type
    return {
        dtype: torch.from_dlpack(comm.empty(count, NUMPY_DTYPE[dtype], device=device))
        .view(dtype)
        .zero_()
        for dtype, count in counts.items()
    }


def cut(
    memory: dict[Any, Tensor], groups: list[list[tuple[str, nn.Parameter]]]
) -> list[Bucket]:
    """Cut the memory into a bucket for each group of named parameters."""
    start = dict.fromkeys(memory, 0)
    made = []
    for named in groups:
        parameters = [parameter for _, parameter in named]
        dtype = parameters[0].dtype
        stop = start[dtype] + sum(parameter.numel() for parameter in parameters)
        flat = memory[dtype][start[dtype] : stop]
        made.append(Bucket([name for name, _ in named], parameters, flat))
        start[dtype] = stop
    return made


def views(bucket: Bucket) -> list[Tensor]:
    """Return each parameter's part of the bucket, with the parameter's strides.

    A dense parameter in another memory order (channels_last) has a gradient in that
    order, which then needs no copy.
    """
    parts, start = [], 0
    for parameter in bucket.parameters:
        flat = bucket.flat[start : start + parameter.numel()]
        start += parameter.numel()
        dense = torch.empty_like(parameter, device="meta").stride()
        parts.append(flat.as_strided(parameter.shape, dense, flat.storage_offset()))
    return parts
