"""Plan: a schedule made ready to run, whatever the buffer.

Steps, tags and waits are worked out once and kept for the next call of the same kind.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from . import algorithms
from .chunk import Chunk
from .lowering import lower
from .order import Waits, limited, waits
from .step import Exchange, GroupCall, Schedule, Step, moving
from .topology import Topology

MAX_MESSAGE = 1 << 30  # bytes; MPI counts are 32-bit in many places
TAGS = 4096  # the k-th message between two ranks carries tag k modulo this
DEPTH = 2  # steps in flight: the receive of the next one is posted early
OVERLAP_DEPTH = 4


class Task(NamedTuple):
    """One step with its tags and the earlier steps it waits for."""

    step: Step
    send_tag: int
    recv_tag: int
    waits: Waits
    self_overlap: bool  # it may not write before its own send has left


class Plan(NamedTuple):
    """The tasks of one rank, and what running them needs."""

    tasks: tuple[Task, ...]
    depth: int
    scratch: int  # elements of the largest chunk received
    native: bool = False  # its group call is the MPI library's


@lru_cache(maxsize=128)
def plan_for(
    topology: Topology,
    rank: int,
    algorithm: str,
    operation: str,
    count: int,
    itemsize: int,
    root: int | None = None,
    engines: tuple[str, ...] = (),
    *,
    segment: int | None = None,
    depth: int | None = None,
) -> Plan:
    """Return the plan of ``operation`` of an algorithm module.

    Group calls of a kind in ``engines`` stay, others become exchanges.  Messages have
    at most ``segment`` bytes; ``depth`` steps are in flight.
    """
    module = algorithms.load(algorithm)
    make: Callable[..., Schedule] = getattr(module, operation)
    extra = () if root is None else (root,)
    schedule = make(topology, rank, Chunk(0, count), *extra)
    overlap = getattr(module, "OVERLAP", False)
    plan = compiled(
        served(schedule, rank, engines),
        itemsize,
        depth or (OVERLAP_DEPTH if overlap else DEPTH),
        most=segment or MAX_MESSAGE,
    )
    return plan._replace(native=bool(engines))


def served(schedule: Schedule, rank: int, engines: tuple[str, ...]) -> Schedule:
    """Lower the group calls that no engine serves."""
    for step in schedule:
        if isinstance(step, GroupCall) and step.kind in engines:
            yield step
        else:
            yield from lower(step, rank)


def compiled(
    schedule: Schedule, itemsize: int, depth: int = DEPTH, *, most: int = MAX_MESSAGE
) -> Plan:
    """Return the plan of any schedule of one rank, with messages of ``most`` bytes."""
    elements = max(1, min(most, MAX_MESSAGE) // itemsize)
    steps = tuple(limited(moving(schedule), elements))
    received = [s.recv.size for s in steps if isinstance(s, Exchange)]
    tasks = []
    sent: dict[int | None, int] = {}
    got: dict[int | None, int] = {}
    for step, wait in zip(steps, waits(steps), strict=True):
        if isinstance(step, GroupCall):
            tasks.append(Task(step, 0, 0, wait, False))
            continue
        clash = step.send.overlaps(step.recv) and None not in (step.dst, step.src)
        tags = (sent.get(step.dst, 0) % TAGS, got.get(step.src, 0) % TAGS)
        tasks.append(Task(step, *tags, wait, clash))
        sent[step.dst] = sent.get(step.dst, 0) + 1
        got[step.src] = got.get(step.src, 0) + 1
    return Plan(tuple(tasks), depth, max(received, default=0))
