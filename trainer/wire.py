"""Wire: how gradients travel, and what keeps float16 from losing or spoiling them.

Each rank sends its share of the mean, so that sums do not overflow by the number of
ranks: of 1,024 ranks a gradient of 1e-6 sends 1e-9, and float16 has nothing between 0
and 6e-8.  So the loss is scaled by a power of two, which costs no precision, and the
update undoes it in float32.  Sums are made in float32, and rounded to float16 where
they are sent.

With ``precision=float16`` the loss has a scale already.  With float32 computation and
float16 gradients (T. Akiba et al., arXiv:1711.04325) it gets one here, and what follows
from it (`trainer.precision`): it is adapted while training, and where a sum overflows
on the wire, all ranks skip that update.  bfloat16 reaches as far as float32.
"""

MARGIN = 64  # a share of 1e-6 is a normal number of float16, and so is 1e-9 not yet 0
LARGEST = 1 << 16  # torch's first scale


def first_scale(precision: str, wire: str | None, size: int) -> float | None:
    """Return the loss scale that float16 on the wire needs; None: none, or not for it.

    It undoes the division by ``size`` ranks, and leaves a margin.

    >>> [first_scale("float32", "float16", size) for size in (1, 2, 256, 1024)]
    [None, 128.0, 16384.0, 65536.0]
    """
    if wire != "float16" or precision == "float16" or size == 1:
        return None
    return float(min(MARGIN << (size - 1).bit_length(), LARGEST))


def describe(precision: str, wire: str | None, size: int) -> str:
    """Say in a few words what travels, and what protects it."""
    if wire is None:
        return "wire as it is"
    if wire != "float16" or size == 1:
        return f"wire {wire}"
    first = first_scale(precision, wire, size)
    scale = "the loss scale" if first is None else f"a loss scale from {first:g}"
    return f"wire {wire} under {scale}, summed in float32"
