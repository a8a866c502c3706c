"""Select: the algorithm that the costs predict to be fastest."""

from functools import lru_cache

from . import algorithms
from .errors import InvalidArgument, UnsupportedTopology
from .machine import Machine
from .topology import Topology

DETERMINISTIC = "rank_order"
NATIVE = "native"


@lru_cache(maxsize=1024)
def ranking(
    topology: Topology, nbytes: int, machine: Machine, native: bool
) -> list[tuple[float, str]]:
    """Return predicted seconds and names of all candidates, fastest first.

    ``native``: the MPI library can combine the type by itself, and is a candidate.
    """
    found = []
    for name in algorithms.names():
        if name == DETERMINISTIC or (name == NATIVE and not native):
            continue
        try:
            cost = algorithms.load(name).cost(topology, nbytes, machine)
        except UnsupportedTopology:
            continue
        found.append((cost, name))
    return sorted(found)


def choose(
    algorithm: str,
    topology: Topology,
    nbytes: int,
    machine: Machine,
    *,
    native: bool,
    deterministic: bool = False,
) -> str:
    """Return the name of the algorithm to run.

    Raises:
        InvalidArgument: the name is unknown, or the algorithm is not deterministic
            where that is asked for.
    """
    if deterministic:
        if algorithm not in ("auto", DETERMINISTIC):
            raise InvalidArgument(
                f"algorithm {algorithm!r} with deterministic=True: only "
                f"{DETERMINISTIC!r} fixes the order of additions; drop one of the two"
            )
        return DETERMINISTIC
    if algorithm == "auto":
        return ranking(topology, nbytes, machine, native)[0][1]
    algorithms.load(algorithm)
    if algorithm == NATIVE and not native:
        raise InvalidArgument(
            "algorithm 'native': the MPI library cannot combine this dtype, op and "
            "wire alike on all ranks; choose another, or algorithm='auto'"
        )
    return algorithm


def explain(
    topology: Topology, nbytes: int, machine: Machine, native: bool = True
) -> str:
    """Return the candidates for an allreduce of ``nbytes``, the chosen one first."""
    lines = [
        f"allreduce of {nbytes} bytes, {topology.describe()}, as on {machine.name}"
    ]
    for i, (seconds, name) in enumerate(ranking(topology, nbytes, machine, native)):
        mark = "->" if i == 0 else "  "
        lines.append(f"{mark} {name:20} {seconds * 1e6:12.1f} us predicted")
    return "\n".join(lines)
