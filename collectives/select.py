"""Select: the algorithm that was measured to be fastest, or else is predicted to be.

A tuned table has the first word.  Where it has no line, the costs of all algorithms are
compared.  Costs that are equal to six digits are a tie, and the simpler algorithm wins
it: the one named first in ``SIMPLEST``.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from . import algorithms, host
from .choice import Choice
from .errors import InvalidArgument, UnsupportedTopology
from .machine import Machine
from .topology import Topology
from .tuned import Found, Table, find

DETERMINISTIC = "rank_order"
NATIVE = "native"
SHARED = "shared"
SIMPLEST = (SHARED, NATIVE, "ring", "recursive_doubling", "halving_doubling", "torus2d")


class Call(NamedTuple):
    """What a choice depends on, beside the ranks and what is known of them.

    ``native``: the MPI library can combine the type by itself, and is a candidate.
    ``engine``: all ranks are on one node, and share memory.
    """

    nbytes: int
    native: bool
    dtype: str = "float32"  # a class of `collectives.tuned`
    registered: bool = False
    engine: bool = False

    def offers(self, name: str) -> bool:
        """Say whether an algorithm can be taken, as far as the memory is concerned."""
        if name == NATIVE:
            return self.native
        return self.engine or name != SHARED


class Ranking(NamedTuple):
    """Seconds and choices, the one to take first; and how they are known."""

    candidates: tuple[tuple[float, Choice], ...]
    measured_at: int | None = None  # bytes; None: predicted


def known(
    machine: Machine | str, asked: str | None, topology: Topology
) -> tuple[Machine, Found]:
    """Return what ``auto`` goes by: a machine, and a table if there is one."""
    if isinstance(machine, str):
        machine = Machine.load(machine)
    here = topology.layout, host.library(), host.processor()
    return machine, find(asked, *here)


@lru_cache(maxsize=1024)
def ranking(
    topology: Topology, call: Call, machine: Machine, table: Table | None = None
) -> Ranking:
    """Return all candidates for an allreduce, the one to take first."""
    line = None
    if table is not None:
        line = table.line("allreduce", call.dtype, call.registered, call.nbytes)
    if line is not None:
        found = [
            (seconds, choice)
            for seconds, choice in line.ranking(call.nbytes)
            if call.offers(choice.algorithm)
        ]
        if found:
            return Ranking(tuple(found), line.nearest(call.nbytes))
    return Ranking(tuple(predicted(topology, call, machine)))


def predicted(
    topology: Topology, call: Call, machine: Machine
) -> list[tuple[float, Choice]]:
    """Return predicted seconds and choices, fastest first."""
    if len(topology.nodes) == 1 and not call.engine:
        machine = replace(machine, node=None)  # group calls become messages
    found = []
    for name in algorithms.names():
        if name == DETERMINISTIC or not call.offers(name):
            continue
        try:
            cost = algorithms.load(name).cost(topology, call.nbytes, machine)
        except UnsupportedTopology:
            continue
        place = SIMPLEST.index(name) if name in SIMPLEST else len(SIMPLEST)
        found.append((float(f"{cost:.6g}"), place, Choice(name)))
    return [(seconds, choice) for seconds, _, choice in sorted(found)]


def choose(
    algorithm: str,
    topology: Topology,
    call: Call,
    machine: Machine,
    *,
    table: Table | None = None,
    deterministic: bool = False,
) -> Choice:
    """Return the algorithm to run, and how.

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
        return Choice(DETERMINISTIC)
    if algorithm == "auto":
        return ranking(topology, call, machine, table).candidates[0][1]
    choice = Choice.parse(algorithm)
    if choice.algorithm == NATIVE and not call.native:
        raise InvalidArgument(
            "algorithm 'native': the MPI library cannot combine this dtype, op and "
            "wire alike on all ranks; choose another, or algorithm='auto'"
        )
    return choice
