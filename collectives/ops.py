"""Local arithmetic: combining, scaling and converting flat arrays, of host or device.

The additions are ours, not the MPI library's, so that half types work on every MPI:
they are computed in float32 and rounded once.  torch's kernels are used for them where
torch is loaded already, being 5 to 20 times NumPy's; the bits are the same.  They are
not for float64 rounded to half types, which torch does by way of float32, twice.
"""

import sys
from functools import partial
from typing import Any

import numpy as np

from . import kernels
from .arrays import DType, wider
from .errors import InvalidArgument
from .scratch import Scratch

UFUNCS = {"sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum}
TORCH = {"sum": "add", "prod": "mul", "min": "minimum", "max": "maximum"}
OPS = ("sum", "mean", "prod", "min", "max")
HALVES = ("float16", "bfloat16")
BLOCK_BYTES = 1 << 18  # combined at a time: they stay in the cache
BLOCK = 1 << 15  # elements widened at a time: they stay in the cache


def check_op(op: str, dtype: DType) -> None:
    """Check that an operation exists, and exists for the type.

    Raises:
        InvalidArgument: it does not; the message lists what does.
    """
    if not isinstance(op, str):
        raise InvalidArgument(
            f"op: got {type(op).__name__}; expected a name, {', '.join(OPS)} (pass an "
            "output by name, out=)"
        )
    if op not in OPS:
        raise InvalidArgument(f"op {op!r}: choose from {', '.join(OPS)}")
    if op == "mean" and not dtype.floating:
        raise InvalidArgument(
            f"op 'mean' of {dtype.name}: the mean of integers is no integer; use "
            "op='sum' and divide, or convert to a floating-point dtype"
        )


@np.errstate(all="ignore")  # inf and nan are results, on all ranks
def combine(
    op: str,
    dtype: DType,
    target: np.ndarray,
    data: np.ndarray,
    *,
    first: bool = False,
    old: np.ndarray | None = None,
) -> None:
    """Set ``target`` to ``target op data``, or with ``first`` to ``data op target``.

    ``old`` holds the elements of ``target`` where they lie elsewhere.  NaN propagates.
    Which operand is first shows in the sign of a zero that is a minimum, and in the
    bits of NaN.
    """
    mine = target if old is None else old
    left, right = (data, mine) if first else (mine, data)
    if not isinstance(target, np.ndarray):
        kernels.combine(op, dtype, target, left, right)
        return
    if dtype.name not in HALVES:
        UFUNCS[op](left, right, out=target)
        return
    torch = sys.modules.get("torch")
    if torch is not None:
        a, b, out = (as_tensor(torch, dtype, x) for x in (left, right, target))
        getattr(torch, TORCH[op])(a, b, out=out)
        return
    for block in blocks(target.size):
        wide = UFUNCS[op](widen(dtype, left[block]), widen(dtype, right[block]))
        target[block] = narrow(dtype, wide)


def combine_wire(
    op: str,
    dtype: DType,
    target: np.ndarray,
    wire: DType,
    data: np.ndarray,
    *,
    first: bool,
    scratch: Scratch,
) -> None:
    """Combine with data of another type, all of whose values ``dtype`` holds."""
    if not isinstance(target, np.ndarray):
        kernels.combine_wire(op, dtype, target, wire, data, first)
        return
    wide = scratch.box("wide", 0, BLOCK, dtype.storage)
    for block in blocks(target.size):
        part = wide[: data[block].size]
        convert(wire, data[block], dtype, part)
        combine(op, dtype, target[block], part, first=first)


class Accumulator:
    """Combine arrays of all ranks, in the order of the ranks.

    Works in blocks that stay in the cache; half types in float32, rounded once.  The
    result is multiplied by ``scale``.
    """

    def __init__(self, op: str, dtype: DType, scale: float = 1.0) -> None:
        """``op`` is sum, prod, min or max."""
        self.op, self.dtype, self.ufunc = op, dtype, UFUNCS[op]
        self.half = dtype.name in HALVES
        wide = np.dtype(np.float32) if self.half else dtype.storage
        self.block = BLOCK_BYTES // wide.itemsize
        self.factor = None if scale == 1.0 else wide.type(scale)
        self.wide = wide
        self.scratch: Any = None

    def __call__(self, sources: list[np.ndarray], targets: list[np.ndarray]) -> None:
        """Combine two or more ``sources`` into all ``targets``, which may be sources.

        A target is written when all that it overlaps has been read.
        """
        size, combine = sources[0].size, self.plain
        if self.half:
            combine = self.widened
            torch = sys.modules.get("torch")
            if torch is not None:
                combine = partial(self.by_torch, torch)
                sources = [as_tensor(torch, self.dtype, x) for x in sources]
                targets = [as_tensor(torch, self.dtype, y) for y in targets]
        if size <= self.block:
            combine(sources, targets)
            return
        for start in range(0, size, self.block):
            part = slice(start, start + self.block)
            combine([x[part] for x in sources], [y[part] for y in targets])

    def plain(self, sources: list[np.ndarray], targets: list[np.ndarray]) -> None:
        """Combine a block of elements whose sums are of their own type."""
        ufunc, target = self.ufunc, targets[0]
        left = sources[0]
        if len(sources) > 2:
            if self.scratch is None:
                self.scratch = np.empty(self.block, self.wide)
            total = self.scratch[: target.size]
            for x in sources[1:-1]:
                ufunc(left, x, out=total)
                left = total
        ufunc(left, sources[-1], out=target)
        if self.factor is not None:
            np.multiply(target, self.factor, out=target)
        for y in targets[1:]:
            y[...] = target

    def by_torch(self, torch: Any, sources: list[Any], targets: list[Any]) -> None:
        """Combine a block of half types by torch's kernels."""
        add, target = getattr(torch, TORCH[self.op]), targets[0]
        if len(sources) == 2 and self.factor is None:
            add(*sources, out=target)  # widens, and rounds once
        else:
            if self.scratch is None:
                self.scratch = torch.empty(
                    2, self.block, dtype=torch.float32, device="cpu"
                )  # whatever the defaults are
            total, other = self.scratch[:, : len(target)]
            total.copy_(sources[0])
            for x in sources[1:]:
                add(total, other.copy_(x), out=total)
            if self.factor is not None:
                total.mul_(float(self.factor))
            target.copy_(total)
        for y in targets[1:]:
            y.copy_(target)

    def widened(self, sources: list[np.ndarray], targets: list[np.ndarray]) -> None:
        """Combine a block of half types by NumPy."""
        total = widen(self.dtype, sources[0])
        for x in sources[1:]:
            total = self.ufunc(total, widen(self.dtype, x))
        if self.factor is not None:
            total = total * self.factor
        result = narrow(self.dtype, total)
        for y in targets:
            y[...] = result


@np.errstate(all="ignore")  # inf and nan are results, on all ranks
def scale(dtype: DType, data: np.ndarray, factor: float) -> None:
    """Multiply in place; half types in float32, rounded once."""
    if factor == 1.0:
        return
    if not isinstance(data, np.ndarray):
        kernels.scale(dtype, data, factor)
        return
    if dtype.name not in HALVES:
        np.multiply(data, dtype.storage.type(factor), out=data)
        return
    torch = sys.modules.get("torch")
    if torch is not None:
        as_tensor(torch, dtype, data).mul_(float(np.float32(factor)))
        return
    for block in blocks(data.size):
        wide = widen(dtype, data[block])
        data[block] = narrow(dtype, wide * np.float32(factor))


@np.errstate(all="ignore")  # inf and nan are results, on all ranks
def convert(source: DType, data: np.ndarray, dtype: DType, target: np.ndarray) -> None:
    """Copy into ``target``, rounding once, to nearest even."""
    if source == dtype:
        target[:] = data
        return
    if not isinstance(data, np.ndarray):
        kernels.convert(source, data, dtype, target)
        return
    torch = sys.modules.get("torch")
    narrowed = dtype.name in HALVES and source.name != "float64"
    if torch is not None and (source.name in HALVES or narrowed):
        as_tensor(torch, dtype, target).copy_(as_tensor(torch, source, data))
        return
    for block in blocks(data.size):
        target[block] = narrow(dtype, widen(source, data[block]))


def scaled(
    source: DType, data: np.ndarray, dtype: DType, target: np.ndarray, factor: float
) -> None:
    """Set ``target`` to ``data`` times ``factor``, multiplied in the wider type.

    ``data`` is lost where it is the wider one.
    """
    if not isinstance(data, np.ndarray):
        kernels.convert(source, data, dtype, target, factor)
    elif wider(source, dtype) == dtype:
        convert(source, data, dtype, target)
        scale(dtype, target, factor)
    else:
        scale(source, data, factor)
        convert(source, data, dtype, target)


def round_both(dtype: DType, data: np.ndarray, wire: DType, out: np.ndarray) -> None:
    """Round ``data`` to the narrower ``wire``: in place, and as ``wire`` in ``out``."""
    if not isinstance(data, np.ndarray):
        kernels.round_both(dtype, data, wire, out)
        return
    convert(dtype, data, wire, out)
    convert(wire, out, dtype, data)


def as_tensor(torch: Any, dtype: DType, data: np.ndarray) -> Any:
    """Return the storage as a torch tensor; it shares memory that can be written."""
    tensor = torch.from_numpy(data if data.flags.writeable else data.copy())
    return tensor.view(torch.bfloat16) if dtype.name == "bfloat16" else tensor


def blocks(size: int) -> list[slice]:
    """Return slices of at most ``BLOCK`` elements."""
    return [slice(i, min(i + BLOCK, size)) for i in range(0, size, BLOCK)]


def widen(dtype: DType, data: np.ndarray) -> np.ndarray:
    """Return half types as float32, others as they are."""
    if dtype.name == "bfloat16":
        return (data.astype(np.uint32) << 16).view(np.float32)
    return data.astype(np.float32) if dtype.name == "float16" else data


def narrow(dtype: DType, wide: np.ndarray) -> np.ndarray:
    """Return floats as storage of ``dtype``, rounded once, to nearest even."""
    if dtype.name != "bfloat16":
        return wide.astype(dtype.storage)
    near = to_odd(wide) if wide.dtype == np.float64 else np.asarray(wide, np.float32)
    bits = near.view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(wide), np.uint16(0x7FC0), rounded)


def to_odd(wide: np.ndarray) -> np.ndarray:
    """Return float64 as float32; what lies between two, as the one with an odd bit.

    So it stays on its side of the middle between two numbers of fewer bits, and is as
    good as ``wide`` where it is rounded to them next.
    """
    near = wide.astype(np.float32)
    bits, back = near.view(np.uint32), near.astype(np.float64)
    bits -= np.abs(back) > np.abs(wide)  # rounded towards zero instead
    bits |= back != wide
    return near
