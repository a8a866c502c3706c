"""Once: rank 0 looks something up, and all ranks learn what it found.

So files that differ between hosts, or exist on one of them only, cannot make ranks
decide differently.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from .errors import InvalidArgument

T = TypeVar("T")


def on_rank_0(mpi: Any, find: Callable[[], T]) -> T:
    """Return what ``find()`` returns on rank 0; all ranks call it together.

    Raises:
        InvalidArgument: on all ranks, if it fails on rank 0.
    """
    found: Any = None
    problem = None
    if mpi.rank == 0:
        try:
            found = find()
        except InvalidArgument as error:
            problem = str(error)
        except Exception as error:  # alone this rank would leave the others waiting
            problem = f"{type(error).__name__}: {error}"
    found, problem = mpi.bcast((found, problem))
    if problem is not None:
        raise InvalidArgument(problem)
    result: T = found
    return result
