"""Crossed 2D torus: one half starts along the rows, the other along the columns.

    steps  4 (X - 1) + 4 (Y - 1), two at a time: 4 (max(X, Y) - 1) rounds of axes that
           have links of their own
    bytes sent per rank  2 n (p - 1) / p, of which n (X - 1) / X (1 + 1 / Y) along the
           row and n (Y - 1) / Y (1 + 1 / X) along the column
    cost   about the slower axis: 4 (X - 1) alpha + n (X - 1) / X (1 + 1 / Y) beta on
           links of its own, the sum of both on links that they share; additions
           count where no message hides them    [seconds]

    first half     row RS      column allreduce   row AG
    second half    column RS   row allreduce      column AG

In every stage the rows carry one half while the columns carry the other, so that both
dimensions of a torus are always busy: `torus2d` leaves one of them idle, and on a
square one takes as many rounds, of messages twice as long.  That pays where both have
links of the same speed; slower columns have more to carry here.  A grid of one row or
one column is a ring.

Rows need not be equally long; then columns are not either, and each half is cut as in
`torus2d`, the second as by a grid whose rows are these columns.

C. Ying, S. Kumar, D. Chen, T. Wang, Y. Cheng: Image classification at supercomputer
scale.  https://arxiv.org/abs/1811.06992
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from ..chunk import Chunk
from ..machine import Link, Machine
from ..step import Schedule, Step
from ..topology import Topology
from . import ring, torus2d

OVERLAP = True  # independent steps are meant to be in flight together


class Axis(NamedTuple):
    """The lines of ranks in one direction."""

    port: int  # of a rank; messages of two axes with one port take turns
    link: Link
    longest: int  # ranks in a line
    shortest: int


class Message(NamedTuple):
    """What the clock needs to know of one step."""

    axis: Axis
    nbytes: float
    reduce: bool


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    if flat(topology):
        yield from ring.schedule(topology, rank, chunk)
        return
    first, second = chunk.split(2)
    for both in zip(
        stages(topology.rows, rank, first),
        stages(turned(topology.rows), rank, second),
        strict=True,
    ):
        # Round by round, so that ranks of unequal rows come to each in the same order.
        for rounds in zip_longest(*both, fillvalue=()):
            for steps in rounds:
                yield from steps


def flat(topology: Topology) -> bool:
    """Say whether the grid is one row or one column."""
    return topology.size in (len(topology.rows), len(topology.rows[0]))


def stages(
    rows: Sequence[tuple[int, ...]], rank: int, chunk: Chunk
) -> tuple[Iterator[tuple[Step, ...]], ...]:
    """Return the rounds of a 2D torus: along the row, the column, and the row."""
    row = torus2d.row_of(rows, rank)
    pieces = chunk.split(len(row))
    return (
        zip(ring.scatter_steps(row, rank, pieces), strict=True),
        torus2d.rounds(rows, rank, chunk),
        zip(ring.gather_steps(row, rank, pieces), strict=True),
    )


def turned(rows: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Return the columns of the grid.

    >>> turned([(0, 1, 2), (3, 4)])
    ((0, 3), (1, 4), (2,))
    """
    most = max(map(len, rows))
    return tuple(tuple(row[i] for row in rows if i < len(row)) for i in range(most))


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by following both halves.

    An estimate where rows are unequal, or of more than one node.  A message waits for
    what its half has received before, and for its port; additions are made one after
    the other, beside the messages of the other half.
    """
    if flat(topology):
        return ring.cost(topology, nbytes, machine)
    row, column = axes(topology, machine)
    free, ready, adder = [0.0, 0.0], [0.0, 0.0], 0.0
    halves = traffic(row, column, nbytes / 2), traffic(column, row, nbytes / 2)
    for both in zip(*halves, strict=True):
        for pair in zip_longest(*both):
            for half, message in enumerate(pair):
                if message is None:
                    continue
                (port, link, *_), size, reduce = message
                done = max(ready[half], free[port]) + link.alpha + size * link.beta
                free[port] = ready[half] = done
                if reduce:
                    adder = max(done, adder) + size * machine.gamma
                    ready[half] = adder
    return max(ready)


def axes(topology: Topology, machine: Machine) -> tuple[Axis, Axis]:
    """Return rows and columns; they share a port unless rows are inside nodes."""
    rows = topology.rows
    within = all(len({topology.node_of[r] for r in row}) == 1 for row in rows)
    fast = machine.intra if within else machine.flat(topology, crossing=1)
    apart = within and len(topology.nodes) > 1
    found = []
    for port, link, lines in (
        (0, fast, rows),
        (int(apart), machine.flat(topology), turned(rows)),
    ):
        lengths = [len(line) for line in lines]
        found.append(Axis(port, link, max(lengths), min(lengths)))
    return found[0], found[1]


def traffic(along: Axis, across: Axis, nbytes: float) -> tuple[list[Message], ...]:
    """Return the messages of a rank for a half that starts ``along`` an axis.

    Unequal lines cut each other's pieces: a round has a message for each part.
    """
    even = along.shortest == along.longest
    parts = 1 if even else -(-along.longest // along.shortest) + 1
    piece = nbytes / along.shortest
    out, over = along.longest - 1, parts * (across.longest - 1)
    small = piece / across.shortest / parts
    return (
        [Message(along, piece, True)] * out,
        [Message(across, small, True)] * over + [Message(across, small, False)] * over,
        [Message(along, piece, False)] * out,
    )
