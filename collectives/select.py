"""Select: the algorithm that the costs predict to be fastest."""

from functools import lru_cache

from . import algorithms
from .errors import InvalidArgument, UnsupportedTopology
from .machine import Machine
from .topology import Topology

DETERMINISTIC = "rank_order"
NATIVE = "native"
SHARED = "shared"


@lru_cache(maxsize=1024)
def ranking(
    topology: Topology, nbytes: int, machine: Machine, native: bool, engine: bool
) -> list[tuple[float, str]]:
    """Return predicted seconds and names of all candidates, fastest first.

    ``native``: the MPI library can combine the type by itself, and is a candidate.
    ``engine``: all ranks are on one node, whose memory they share.
    """
    found = []
    for name in algorithms.names():
        if name == DETERMINISTIC or (name == NATIVE and not native):
            continue
        if name == SHARED and not engine:
            continue
        try:
            cost = algorithms.load(name).cost(topology, nbytes, machine)
        except UnsupportedTopology:
            continue
        found.append((cost, name))
    # Of equal predictions the engine's own call first: it is the shortest way.
    return sorted(found, key=lambda c: (float(f"{c[0]:.6g}"), c[1] != SHARED, c[1]))


def choose(
    algorithm: str,
    topology: Topology,
    nbytes: int,
    machine: Machine,
    *,
    native: bool,
    engine: bool = False,
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
        return ranking(topology, nbytes, machine, native, engine)[0][1]
    algorithms.load(algorithm)
    if algorithm == NATIVE and not native:
        raise InvalidArgument(
            "algorithm 'native': the MPI library cannot combine this dtype, op and "
            "wire alike on all ranks; choose another, or algorithm='auto'"
        )
    return algorithm


def explain(
    topology: Topology,
    nbytes: int,
    machine: Machine,
    native: bool = True,
    engine: bool = False,
) -> str:
    """Return the candidates for an allreduce of ``nbytes``, the chosen one first."""
    lines = [
        f"allreduce of {nbytes} bytes, {topology.describe()}, as on {machine.name}"
    ]
    found = ranking(topology, nbytes, machine, native, engine)
    for i, (seconds, name) in enumerate(found):
        mark = "->" if i == 0 else "  "
        lines.append(f"{mark} {name:20} {seconds * 1e6:12.1f} us predicted")
    return "\n".join(lines)
