"""Reduction: what surrounds the steps of a reducing collective.

    input -> prescale -> steps, on the wire type -> round -> postscale -> output

The mean divides by the number of ranks.  For half types it scales by a power of two
before and the rest after, so that no sum overflows because of the number of ranks.
"""

from typing import Any, NamedTuple

from . import ops
from .arrays import DType, dtype_named, same_memory, temporary, wider
from .errors import InvalidArgument


class Reduction(NamedTuple):
    """How to reduce arrays of ``dtype``; ``work`` holds partial sums."""

    op: str  # sum, prod, min or max
    dtype: DType
    work: DType
    wire: DType
    before: float
    after: float

    @classmethod
    def of(
        cls,
        op: str,
        dtype: DType,
        size: int,
        *,
        wire: str | None = None,
        scales: tuple[float, float] = (1.0, 1.0),
        deterministic: bool = False,
    ) -> "Reduction":
        """Check the arguments of a call on ``size`` ranks; ``scales``: before, after.

        Raises:
            InvalidArgument: the operation, the scale or the wire type does not fit.
        """
        ops.check_op(op, dtype)
        before, after = scales
        if scales != (1.0, 1.0) and not dtype.floating:
            raise InvalidArgument(
                f"prescale={before}, postscale={after} of {dtype.name}: only "
                "floating-point arrays can be scaled"
            )
        travels = wire_type(wire, dtype, deterministic)
        if op == "mean":
            power = 1
            if {dtype.name, travels.name} & set(ops.HALVES):
                power = 1 << (size - 1).bit_length()
            op, before, after = "sum", before / power, after * power / size
        return cls(op, dtype, wider(dtype, travels), travels, before, after)

    def accumulator(self) -> ops.Accumulator:
        """Return what makes the whole reduction at once, where nothing travels."""
        return ops.Accumulator(self.op, self.dtype, self.before * self.after)

    @property
    def direct(self) -> bool:
        """Whether the steps can take the input where it is, unscaled and unrounded."""
        return self.work == self.dtype == self.wire and self.before == 1.0

    def working(self, x: Any, out: Any) -> Any:
        """Copy flat ``x`` to where the sums are made: ``out``, or wider scratch."""
        data = out
        if self.work != self.dtype:
            data = temporary(x, x.size, self.work.storage)
        if same_memory(data, x):
            ops.scale(self.work, data, self.before)
        else:
            ops.scaled(self.dtype, x, self.work, data, self.before)
        return data

    def finish(self, data: Any, out: Any) -> None:
        """Round what was summed as the other ranks have it, scale it, hand it out.

        ``out`` has as many elements as ``data``, or is the same memory.
        """
        if self.wire != self.work:
            rounded = temporary(data, data.size, self.wire.storage)
            ops.round_both(self.work, data, self.wire, rounded)
        if same_memory(data, out):
            ops.scale(self.work, data, self.after)
        else:
            ops.scaled(self.work, data, self.dtype, out, self.after)


def wire_type(wire: str | None, dtype: DType, deterministic: bool) -> DType:
    """Return the type that travels.

    By default the array's own; the running sums of a deterministic sum of half types
    travel as float32, so that they are rounded once.
    """
    if wire is None:
        half = dtype.name in ops.HALVES
        return dtype_named("float32") if half and deterministic else dtype
    travels = dtype_named(wire, "wire")
    if travels != dtype and not (travels.floating and dtype.floating):
        raise InvalidArgument(
            f"wire {wire!r} for an array of {dtype.name}: only floating-point arrays "
            "can travel as another floating-point type"
        )
    return travels
