"""Decide together: what fails on one rank before training fails on all of them."""

from collections.abc import Callable
from typing import Any, TypeVar

from collectives import CollectiveError, InvalidArgument

T = TypeVar("T")


def together(comm: Any, action: Callable[[], T]) -> T:
    """Run ``action`` on every rank and return its result, or raise on every rank.

    Raises:
        InvalidArgument: ``action`` raised CollectiveError, ImportError or OSError on
            some rank; the message is that of the first such rank, and names it where
            other ranks had no error.
    """
    result, mine = None, None
    try:
        result = action()
    except (CollectiveError, ImportError, OSError) as error:
        mine = str(error)
    all_errors = comm.gather_objects(mine, root=0)
    problem = None
    if all_errors is not None:
        failed = [rank for rank, text in enumerate(all_errors) if text is not None]
        if failed:
            problem = all_errors[failed[0]]
            if len(failed) < len(all_errors):
                problem = f"{problem} (on ranks {', '.join(map(str, failed))})"
    problem = comm.broadcast_object(problem, root=0)
    if problem is not None:
        raise InvalidArgument(problem)
    return result


def on_root(comm: Any, action: Callable[[], T]) -> T:
    """Run ``action`` on rank 0 and return its result on every rank.

    Raises:
        InvalidArgument: on every rank, where ``action`` raised CollectiveError or
            OSError.
    """
    outcome = None
    if comm.rank == 0:
        try:
            outcome = (action(), None)
        except (CollectiveError, OSError) as error:
            outcome = (None, str(error))
    result, problem = comm.broadcast_object(outcome, root=0)
    if problem is not None:
        raise InvalidArgument(problem)
    return result


def first_difference(everyone: list[list[tuple]]) -> str | None:
    """Say how the first rank whose list differs from rank 0's differs from it."""
    for rank, theirs in enumerate(everyone):
        if theirs == everyone[0]:
            continue
        shorter = min(len(everyone[0]), len(theirs))
        index = next(
            (i for i in range(shorter) if everyone[0][i] != theirs[i]), shorter
        )
        here, there = everyone[0][index : index + 1], theirs[index : index + 1]
        return (
            f"rank {rank} has {len(theirs)} entries, rank 0 has {len(everyone[0])}; "
            f"entry {index}: rank 0 {here or 'none'}, rank {rank} {there or 'none'}"
        )
    return None
