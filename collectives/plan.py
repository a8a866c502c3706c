"""Plan: a schedule made ready to run, whatever the buffer.

Steps, tags and waits are worked out once and kept for the next call of the same kind.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from . import algorithms
from .chunk import Chunk
from .lowering import lower
from .order import Waits, fresh, limited, waits
from .step import NOTHING, Exchange, GroupCall, Schedule, Step, moving
from .topology import Topology

MAX_MESSAGE = 1 << 30  # bytes; MPI counts are 32-bit in many places
MOST_SEGMENTS = 1 << 11  # of a buffer: those of a very large one are larger
TAGS = 4096  # the k-th message between two ranks carries tag k modulo this
OVERLAP_DEPTH = 4


class Pace(NamedTuple):
    """How long messages are, in bytes, and how many steps are in flight."""

    segment: int
    depth: int


# A message is combined while it is in the cache; the next receive is posted early.
HOST = Pace(1 << 20, 2)
# A message is being copied down, on the wire, being copied up, or being added.
DEVICE = Pace(1 << 21, 4)


class Task(NamedTuple):
    """One step with its tags, the earlier steps it waits for, and where it reads."""

    step: Step
    send_tag: int
    recv_tag: int
    waits: Waits
    self_overlap: bool  # it may not write before its own send has left
    fresh_send: bool = False  # no earlier step has written what it sends
    fresh_recv: bool = False  # nor what it combines


class Plan(NamedTuple):
    """The tasks of one rank, and what running them needs."""

    tasks: tuple[Task, ...]
    depth: int
    largest: int  # elements of the largest message
    silent: bytes  # 1 for each step that sends nothing
    deaf: bytes  # 1 for each step that receives nothing
    copies: tuple[Chunk, ...] = ()  # what is copied first where the input is elsewhere
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
    usual: Pace = HOST,
) -> Plan:
    """Return the plan of ``operation`` of an algorithm module.

    Group calls of a kind in ``engines`` stay, if they are of the rank's own node or of
    all ranks; others become exchanges.  Messages have at most ``segment`` bytes;
    ``depth`` steps are in flight; where these are None it is as ``usual``.
    """
    module = algorithms.load(algorithm)
    make: Callable[..., Schedule] = getattr(module, operation)
    extra = () if root is None else (root,)
    schedule = make(topology, rank, Chunk(0, count), *extra)
    overlap = getattr(module, "OVERLAP", False)
    # Who overlaps steps has cut them so that they do; cut again they fill the window.
    most = MAX_MESSAGE if overlap else message_bytes(count * itemsize, usual.segment)
    groups = (topology.node(rank), topology.order)
    plan = compiled(
        served(schedule, rank, groups, engines),
        itemsize,
        depth or (OVERLAP_DEPTH if overlap else usual.depth),
        most=segment or most,
        whole=Chunk(0, count),
    )
    return plan._replace(native=algorithm == "native")


def served(
    schedule: Schedule,
    rank: int,
    groups: tuple[tuple[int, ...], ...],
    engines: tuple[str, ...],
) -> Schedule:
    """Lower the group calls that no engine serves."""
    for step in schedule:
        kept = isinstance(step, GroupCall) and step.kind in engines
        if kept and isinstance(step, GroupCall) and step.group in groups:
            yield step
        else:
            yield from lower(step, rank)


def message_bytes(nbytes: int, least: int) -> int:
    """Return the bytes of the messages that a buffer is cut into."""
    return max(least, -(-nbytes // MOST_SEGMENTS))


def compiled(
    schedule: Schedule,
    itemsize: int,
    depth: int = HOST.depth,
    *,
    most: int = MAX_MESSAGE,
    whole: Chunk = NOTHING,
) -> Plan:
    """Return the plan of any schedule of one rank.

    Messages have at most ``most`` bytes.  ``whole`` is the buffer, where the input may
    lie elsewhere.
    """
    elements = max(1, min(most, MAX_MESSAGE) // itemsize)
    steps = tuple(limited(moving(schedule), elements))
    exchanged = [s for s in steps if isinstance(s, Exchange)]
    sizes = [size for s in exchanged for size in (s.send.size, s.recv.size)]
    untouched, copies = fresh(steps, whole)
    tasks = []
    sent: dict[int | None, int] = {}
    got: dict[int | None, int] = {}
    for step, wait, old in zip(steps, waits(steps), untouched, strict=True):
        if isinstance(step, GroupCall):
            tasks.append(Task(step, 0, 0, wait, False))
            continue
        clash = step.send.overlaps(step.recv) and None not in (step.dst, step.src)
        tags = (sent.get(step.dst, 0) % TAGS, got.get(step.src, 0) % TAGS)
        tasks.append(Task(step, *tags, wait, clash, *old))
        sent[step.dst] = sent.get(step.dst, 0) + 1
        got[step.src] = got.get(step.src, 0) + 1
    silent = bytes(isinstance(s, GroupCall) or s.dst is None for s in steps)
    deaf = bytes(isinstance(s, Exchange) and s.src is None for s in steps)
    largest = max(sizes, default=0)
    return Plan(tuple(tasks), depth, largest, silent, deaf, tuple(copies))
