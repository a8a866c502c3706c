"""Layout: the nodes of a launch, their slots, and the grid laid over their ranks.

Ranks are placed in blocks: node after node, each filled before the next.  Rank ``r``
stands in row ``r // X`` and column ``r % X`` of an X x Y grid, so the order of the
nodes decides which rows lie inside a node.
"""

import re
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

MAX_RANKS = 1 << 20


class Node(NamedTuple):
    """A host and the ranks it takes; 0 slots leave the number to the launcher."""

    host: str
    slots: int


def parse_shape(text: str) -> list[int]:
    """Read the slots of each node from ``128x8`` (nodes x slots) or ``4,4,2``.

    Raises:
        ValueError: neither form, a number below 1, or more than ``MAX_RANKS`` ranks.

    >>> parse_shape("3x2"), parse_shape("4,4,2")
    ([2, 2, 2], [4, 4, 2])
    """
    try:
        if "x" in text:
            count, slots = (int(number) for number in text.split("x"))
            sizes = [slots] * min(count, MAX_RANKS + 1)
        else:
            sizes = [int(number) for number in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise ValueError(
            f"shape {text!r}: expected NODESxSLOTS like 128x8, or the slots of each "
            "node like 4,4,2, all of them at least 1"
        )
    if sum(sizes) > MAX_RANKS:
        raise ValueError(f"shape {text!r}: holds more than {MAX_RANKS:,} ranks")
    return sizes


def parse_grid(text: str, ranks: int) -> int:
    """Read ``XxY`` and return X, the ranks of a row.

    Raises:
        ValueError: not of that form, or X times Y is not ``ranks``.

    >>> parse_grid("64x34", 2176)
    64
    """
    try:
        x, y = (int(number) for number in text.split("x"))
    except ValueError:
        x, y = 0, 0
    if x < 1 or x * y != ranks:
        rows = [d for d in range(1, ranks + 1) if ranks % d == 0]
        choices = ", ".join(f"{d}x{ranks // d}" for d in rows)
        raise ValueError(
            f"grid {text!r}: expected XxY with X times Y = {ranks} ranks, X the length "
            f"of a row: one of {choices}"
        )
    return x


def name_nodes(sizes: Sequence[int], prefix: str) -> list[Node]:
    """Name the nodes by number, all names equally long.

    Raises:
        ValueError: the prefix cannot start a host name.

    >>> name_nodes([4, 2], "bb")
    [Node(host='bb0', slots=4), Node(host='bb1', slots=2)]
    """
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9-]*", prefix):
        raise ValueError(
            f"prefix {prefix!r}: expected letters, digits and hyphens, as host names "
            "have, the first of them no hyphen"
        )
    width = len(str(len(sizes) - 1))
    return [Node(f"{prefix}{i:0{width}}", slots) for i, slots in enumerate(sizes)]


def pack_rows(nodes: Sequence[Node], x: int) -> list[Node]:
    """Order the nodes so that rows of ``x`` ranks lie inside nodes as far as possible.

    Equal nodes are already in a best order and stay as they are: a node edge meets a
    row's end after every least common multiple of slots and ``x``, and no order can
    do better.  Unequal nodes are taken greedily: one that ends with a row, else the
    largest that fits into the rest of the row, else the largest.  The given order
    stays unless that splits fewer rows.
    """
    queues: dict[int, deque[Node]] = {}
    for node in nodes:
        queues.setdefault(node.slots, deque()).append(node)
    packed, free = [], x
    while queues:
        slots = max(queues, key=lambda slots: preference(slots, free, x))
        packed.append(queues[slots].popleft())
        if not queues[slots]:
            del queues[slots]
        free = x - (x - free + slots) % x
    return min(list(nodes), packed, key=lambda order: count_pieces(order, x))


def preference(slots: int, free: int, x: int) -> tuple[bool, bool, int]:
    """Rank a node for a row of ``x`` with ``free`` places left; larger is better."""
    return (slots - free) % x == 0, slots < free, slots


def count_pieces(nodes: Sequence[Node], x: int) -> int:
    """Count the pieces that node edges cut the rows of ``x`` ranks into.

    The number of rows is the least there can be: every row inside one node.

    >>> count_pieces([Node("a", 4), Node("b", 4)], 4)
    2
    >>> count_pieces([Node("a", 3), Node("b", 5)], 4)
    3
    """
    edges = set(accumulate(node.slots for node in nodes))
    return len(edges | set(range(x, max(edges) + 1, x)))


def place_ranks(nodes: Sequence[Node]) -> list[tuple[str, int]]:
    """Return the host of each rank and its place there, in rank order.

    >>> place_ranks([Node("a", 2), Node("b", 1)])
    [('a', 0), ('a', 1), ('b', 0)]
    """
    return [(host, place) for host, slots in nodes for place in range(slots)]
