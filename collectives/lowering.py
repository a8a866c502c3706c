"""A group call as point-to-point steps, for groups that no engine serves."""

from .algorithms import mixed_radix, ring, tree
from .errors import InvalidArgument
from .step import KINDS, ROOTED, GroupCall, Schedule, Step


def lower(step: Step, rank: int) -> Schedule:
    """Yield the exchanges of ``rank`` that do what ``step`` says.

    Raises:
        InvalidArgument: the kind of a group call is unknown, or lacks its root.
    """
    if not isinstance(step, GroupCall):
        yield step
        return
    kind, group, chunk, root = step
    if kind not in KINDS or (root is not None) != (kind in ROOTED):
        raise InvalidArgument(
            f"{step} of rank {rank}: expected one of {', '.join(KINDS)}, and a root "
            f"for {' and '.join(ROOTED)} only"
        )
    pieces = chunk.split(len(group))
    if kind == "reduce_scatter":
        yield from ring.scatter_steps(group, rank, pieces)
    elif kind == "allgather":
        yield from ring.gather_steps(group, rank, pieces)
    elif kind == "allreduce":
        yield from mixed_radix.allreduce(group, rank, chunk)
    elif kind == "reduce" and root is not None:
        yield from tree.reduce_steps(group, rank, chunk, root)
    elif root is not None:
        yield from tree.broadcast_steps(group, rank, chunk, root)
