"""Fusion: which gradients travel together, and by which algorithm.

Gradients are fused into buckets, in the order in which they arrive.  The first bucket
is small so that communication starts early; the others are large so that few messages
are sent.  A bucket holds one dtype.  Its bytes choose the algorithm of its allreduce:
few bytes want few messages, many bytes want all links.

The switch is that of X. Jia et al.: Highly scalable deep learning training system with
mixed-precision.  arXiv:1807.11205: hierarchical for small tensors that were fused, a
ring for large ones.
"""

from collections.abc import Iterable
from typing import Any

from trainer.fields import Reduction


def layout(
    sizes: Iterable[tuple[int, Any]], *, first_nbytes: int, nbytes: int
) -> list[list[int]]:
    """Cut tensors, given as (nbytes, dtype) in arrival order, into buckets of indices.

    A bucket is closed when it holds ``first_nbytes`` (the first) or ``nbytes`` (the
    others), so one tensor larger than that has a bucket of its own at most.  Each
    dtype fills buckets of its own; they are returned in the order of their last tensor,
    the order in which they become complete.

    >>> layout([(4, "a"), (4, "a"), (4, "a")], first_nbytes=4, nbytes=8)
    [[0], [1, 2]]
    """
    closed: list[list[int]] = []
    open_buckets: dict[Any, list[int]] = {}
    filled: dict[Any, int] = {}
    for index, (size, dtype) in enumerate(sizes):
        bucket = open_buckets.setdefault(dtype, [])
        bucket.append(index)
        filled[dtype] = filled.get(dtype, 0) + size
        if filled[dtype] >= (nbytes if closed else first_nbytes):
            closed.append(open_buckets.pop(dtype))
            filled[dtype] = 0
    return sorted(closed + list(open_buckets.values()), key=lambda bucket: bucket[-1])


def algorithm(reduction: Reduction, nbytes: int) -> str:
    """Return the algorithm for a bucket of ``nbytes`` in memory.

    >>> rule = Reduction(algorithm="ring", small_algorithm="tree", switch_bytes=1024)
    >>> algorithm(rule, 1023), algorithm(rule, 1024)
    ('tree', 'ring')
    """
    small = nbytes < reduction.switch_bytes
    return reduction.small_algorithm if small else reduction.algorithm
