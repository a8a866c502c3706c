"""Algorithms: one module each; the file name is the algorithm's name.

Every module has ``schedule(topology, rank, chunk)``, the steps of one rank's allreduce
of ``chunk``, and ``cost(topology, nbytes, machine)``, its time in seconds.  It may also
have ``reduce_scatter``, ``allgather``, ``reduce`` and ``broadcast`` of the same kind,
which name what `collectives.Communicator` offers under these names.
"""

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType

from ..errors import InvalidArgument


def names(operation: str = "schedule") -> list[str]:
    """Return the names of the algorithms that offer ``operation``."""
    return [name for name in found() if hasattr(load(name), operation)]


@cache
def found() -> tuple[str, ...]:
    """Return the names of all modules in this folder."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def load(name: str) -> ModuleType:
    """Return the module of an algorithm.

    Raises:
        InvalidArgument: there is no such algorithm, the message lists them all; or its
            module lacks what every one has.
    """
    if name not in found():
        raise InvalidArgument(
            f"unknown algorithm {name!r}; choose from {', '.join(names())}"
        )
    module = import_module(f"{__name__}.{name}")
    for function in ("schedule", "cost"):
        if not hasattr(module, function):
            raise InvalidArgument(
                f"{module.__file__}: an algorithm has schedule() and cost(), this one "
                f"has no {function}()"
            )
    return module
