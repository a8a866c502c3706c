"""Topology: which ranks share a node, and the grid laid over them.

    order     all ranks, node after node: the order of every ring
    nodes     the ranks of each host; equal sizes are not required
    rails     the ranks with the same place on every host
    rows      the rows of the X x Y grid: X ranks side by side (the fast direction),
              Y rows above each other; rows need not be equally long

Built from MPI by `collectives.Communicator`, from the environment variable
``COLLECTIVES_NODES`` to pretend, or by hand for a simulation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, groupby, pairwise
from math import isqrt

from .errors import UnsupportedTopology

MAX_ASPECT = 3  # a longer grid is replaced by one of unequal rows,
MIN_UNEQUAL = 11  # which pays from this many ranks on


@dataclass(frozen=True)
class Topology:
    """Ranks ``0 .. size - 1`` arranged in nodes, and in the rows of a grid."""

    nodes: tuple[tuple[int, ...], ...]
    rows: tuple[tuple[int, ...], ...] = field(default=())

    def __post_init__(self) -> None:
        """Check that nodes and rows hold every rank once, and fill in the rows."""
        ranks = sorted(chain.from_iterable(self.nodes))
        if ranks != list(range(len(ranks))) or not ranks or not all(self.nodes):
            raise UnsupportedTopology(
                f"topology: nodes must hold the ranks 0 .. p - 1 once each, without "
                f"empty nodes; got {shorten(self.nodes)}"
            )
        if not self.rows:
            object.__setattr__(self, "rows", default_rows(self.nodes))
        elif sorted(chain.from_iterable(self.rows)) != ranks or not all(self.rows):
            raise UnsupportedTopology(
                f"topology: the rows of the grid must hold the ranks 0 .. "
                f"{len(ranks) - 1} once each, without empty rows; "
                f"got {shorten(self.rows)}"
            )

    @classmethod
    def uniform(
        cls, nodes: int = 1, local: int = 1, grid: tuple[int, int] | None = None
    ) -> "Topology":
        """Arrange ``nodes`` x ``local`` ranks in blocks: ranks 0 .. local - 1 first.

        >>> Topology.uniform(nodes=2, local=3).nodes
        ((0, 1, 2), (3, 4, 5))
        """
        return cls.sized([local] * nodes, grid)

    @classmethod
    def sized(
        cls, sizes: Sequence[int], grid: tuple[int, int] | None = None
    ) -> "Topology":
        """Arrange ranks in blocks of the given sizes, one block a node.

        >>> Topology.sized([1, 3]).nodes
        ((0,), (1, 2, 3))
        """
        ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        nodes = tuple(tuple(range(a, b)) for a, b in pairwise(ends))
        return cls(nodes).with_grid(grid)

    @classmethod
    def from_hosts(
        cls, hosts: Sequence[str], grid: tuple[int, int] | None = None
    ) -> "Topology":
        """Group ranks by host: ``hosts[r]`` names the host of rank ``r``.

        >>> Topology.from_hosts(["a", "b", "a"]).nodes
        ((0, 2), (1,))
        """
        members: dict[str, list[int]] = {}
        for rank, host in enumerate(hosts):
            members.setdefault(host, []).append(rank)
        return cls(tuple(map(tuple, members.values()))).with_grid(grid)

    @classmethod
    def parse(cls, text: str, size: int | None) -> "Topology":
        """Read ``4x2`` (4 nodes of 2 ranks) or ``3,2,1`` (unequal nodes).

        Raises:
            UnsupportedTopology: the text is neither, or does not hold ``size`` ranks
                (None: any number).
        """
        try:
            if "x" in text:
                nodes, local = (int(number) for number in text.split("x"))
                sizes = [local] * nodes
            else:
                sizes = [int(number) for number in text.split(",")]
        except ValueError:
            sizes = []
        if not sizes or min(sizes) < 1 or size not in (None, sum(sizes)):
            total = "" if size is None else f", adding up to {size} ranks"
            raise UnsupportedTopology(
                f"nodes {text!r} (--nodes or COLLECTIVES_NODES): expected NODESxLOCAL "
                f"like 4x2, or node sizes like 3,2,1{total}"
            )
        return cls.sized(sizes)

    def with_grid(self, grid: tuple[int, int] | None) -> "Topology":
        """Return the same nodes under an X x Y grid, X ranks a row; None: the default.

        Raises:
            UnsupportedTopology: X times Y is not the number of ranks.
        """
        if grid is None:
            return self
        x, y = grid
        if x < 1 or x * y != self.size:
            choices = ", ".join(f"{d}x{self.size // d}" for d in divisors(self.size))
            raise UnsupportedTopology(
                f"grid {x}x{y} does not hold {self.size} ranks; X x Y must be one of "
                f"{choices}"
            )
        return Topology(self.nodes, cut(self.order, [x] * y))

    @property
    def layout(self) -> str:
        """The sizes of the nodes, as `parse` reads them.

        >>> Topology.sized([3, 2]).layout
        '3,2'
        """
        sizes = [len(node) for node in self.nodes]
        if len(set(sizes)) == 1:
            return f"{len(sizes)}x{sizes[0]}"
        return ",".join(map(str, sizes))

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.order)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """All ranks, node after node."""
        return tuple(chain.from_iterable(self.nodes))

    @cached_property
    def node_of(self) -> tuple[int, ...]:
        """Index of the node of each rank."""
        index = {r: i for i, node in enumerate(self.nodes) for r in node}
        return tuple(index[rank] for rank in range(self.size))

    @cached_property
    def rails(self) -> tuple[tuple[int, ...], ...]:
        """The ranks with the same place on every node that has it.

        >>> Topology.sized([2, 3]).rails
        ((0, 2), (1, 3), (4,))
        """
        most = max(map(len, self.nodes))
        return tuple(
            tuple(node[i] for node in self.nodes if i < len(node)) for i in range(most)
        )

    def node(self, rank: int) -> tuple[int, ...]:
        """Return the ranks that share the node of ``rank``."""
        return self.nodes[self.node_of[rank]]

    def describe(self) -> str:
        """Say nodes and grid in a few words.

        >>> Topology.uniform(nodes=2, local=4).describe()
        '8 ranks on 2 nodes of 4, grid 4x2'
        """
        nodes, rows = runs(map(len, self.nodes)), runs(map(len, self.rows))
        if len(self.nodes) == 1:
            where = "1 node"
        else:
            where = f"{len(self.nodes)} nodes of {nodes}"
            if len(set(map(len, self.nodes))) == 1:
                where = f"{len(self.nodes)} nodes of {len(self.nodes[0])}"
        grid = f"grid {len(self.rows[0])}x{len(self.rows)}"
        if len(set(map(len, self.rows))) > 1:
            grid = f"grid of rows {rows}"
        return f"{self.size} rank{'s' * (self.size > 1)} on {where}, {grid}"


def default_rows(nodes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """Lay the grid: whole nodes side by side in a row, as square as that allows.

    Unequal nodes are one row each.  On one node the grid is the most square one with
    equal rows or, where that is longer than ``MAX_ASPECT`` to one, has rows within one
    of each other: 11 ranks become rows of 4, 4 and 3.
    """
    order = tuple(chain.from_iterable(nodes))
    size, local = len(order), len(nodes[0])
    if any(len(node) != local for node in nodes):
        return nodes
    if len(nodes) > 1:
        per_row = min(
            divisors(len(nodes)), key=lambda k: abs(k * local - len(nodes) // k)
        )
        return cut(order, [per_row * local] * (len(nodes) // per_row))
    y = max(d for d in divisors(size) if d * d <= size)
    if size // y <= MAX_ASPECT * y or size < MIN_UNEQUAL:
        return cut(order, [size // y] * y)
    y = isqrt(size)
    return cut(order, [size // y + (i < size % y) for i in range(y)])


def parse_grid(text: str) -> tuple[int, int]:
    """Read ``64x34``: X = 64 ranks side by side, Y = 34 rows.

    Raises:
        UnsupportedTopology: the text is not two numbers with an x between them.
    """
    try:
        x, y = (int(number) for number in text.split("x"))
    except ValueError:
        raise UnsupportedTopology(
            f"grid {text!r}: expected XxY like 64x34, X ranks a row and Y rows"
        ) from None
    return x, y


def divisors(n: int) -> list[int]:
    """Return all divisors in increasing order."""
    return [d for d in range(1, n + 1) if n % d == 0]


def cut(order: tuple[int, ...], sizes: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    """Cut the ranks into consecutive parts of the given sizes."""
    parts, start = [], 0
    for n in sizes:
        parts.append(order[start : start + n])
        start += n
    return tuple(parts)


def runs(sizes: Iterable[int]) -> str:
    """Write sizes with repeats folded: ``8x3,4`` for 8, 8, 8, 4."""
    counted = [(size, len(list(same))) for size, same in groupby(sizes)]
    return ",".join(f"{size}x{n}" if n > 1 else str(size) for size, n in counted)


def shorten(groups: object, limit: int = 120) -> str:
    """Write a value so that it fits an error message."""
    text = repr(groups)
    return text if len(text) <= limit else text[: limit - 3] + "..."
