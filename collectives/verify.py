"""Prove schedules: every contribution exactly once, everywhere the same, no deadlock.

    python -m collectives.verify --all --max 64
    python -m collectives.verify torus2d -n 4096 --grid 64x64

The schedules run in `collectives.world`, on the expressions of `collectives.proof` in
place of numbers.  Proved for any buffering of the MPI library and any element type:

* exactly once: the two sides of every addition have no rank in common, and the result
  holds all ranks;
* bitwise equal: all ranks end with the very same expression;
* both sides of every message name the same elements, and nobody waits for ever.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product

from . import algorithms, world
from .errors import (
    CollectiveError,
    Deadlock,
    InvalidArgument,
    UnsupportedTopology,
    WrongResult,
)
from .proof import prove
from .step import GroupCall, Schedule
from .topology import Topology, parse_grid
from .usage import Parser


def verify(
    name: str,
    topology: Topology,
    count: int | None = None,
    *,
    operation: str = "schedule",
    root: int | None = None,
    lowered: bool = False,
) -> None:
    """Prove an algorithm's ``operation`` on a buffer of ``count`` elements (3 p + 1).

    Raises:
        WrongResult: a contribution is missing or doubled, ranks would differ, or the
            two sides of a message disagree.
        Deadlock: without buffering some ranks wait for ever.
        UnsupportedTopology: the algorithm does not run on this topology.
    """
    count = 3 * topology.size + 1 if count is None else count

    def make() -> list[Schedule]:
        return world.schedules(
            name, topology, count, operation=operation, root=root, lowered=lowered
        )

    prove(make(), make(), topology, count, operation=operation, root=root)


def layouts(size: int) -> Iterator[Topology]:
    """Yield the layouts that are proved by default: one node, equal, unequal nodes."""
    yield Topology.uniform(local=size)
    for local in (2, 4):
        if size % local == 0 and size > local:
            yield Topology.uniform(nodes=size // local, local=local)
    if size > 2:
        yield Topology.sized([size - size // 3, size // 3])


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 1 failed proof, 2 wrong usage."""
    parser = Parser(prog="python -m collectives.verify", description="Prove schedules.")
    parser.add_argument("algorithm", nargs="*", help="names; see --all")
    parser.add_argument("--all", action="store_true", help="all algorithms")
    parser.add_argument(
        "--max", type=int, default=16, metavar="P", help="1 .. P ranks (default: 16)"
    )
    parser.add_argument("-n", "--np", type=int, help="this number of ranks")
    parser.add_argument("--nodes", help="layout: 4x2, or node sizes 3,2,1; needs --np")
    parser.add_argument("--grid", help="X x Y: 64x34; needs --np")
    parser.add_argument(
        "--count", type=int, help="elements (default: p - 1 and 3 p + 1)"
    )
    try:
        options = parser.parse_args(arguments)
        names = algorithms.names() if options.all else options.algorithm
        if not names:
            parser.error(f"name algorithms, or --all: {', '.join(algorithms.names())}")
        for name in names:
            algorithms.load(name)
        cases = chosen(options)
        for name in names:
            prove_all(name, cases, options.count)
    except CollectiveError as error:
        failed = isinstance(error, WrongResult | Deadlock)
        print(f"{'FAILED' if failed else 'verify'}: {error}", file=sys.stderr)
        return 1 if failed else 2
    return 0


def chosen(options: argparse.Namespace) -> list[Topology]:
    """Return the layouts that the options ask for.

    Raises:
        InvalidArgument: ``--np`` or ``--max`` is less than one rank, or ``--np`` is
            missing.
        UnsupportedTopology: nodes or grid do not hold ``--np`` ranks.
    """
    size = options.max if options.np is None else options.np
    if size < 1:
        raise InvalidArgument(f"--np or --max {size}: expected at least one rank")
    if options.np is None and (options.nodes or options.grid):
        raise InvalidArgument("--nodes and --grid need the number of ranks: --np")
    if options.np is None:
        return [topology for n in range(1, size + 1) for topology in layouts(n)]
    topology = Topology.uniform(local=size)
    if options.nodes:
        topology = Topology.parse(options.nodes, size)
    if options.grid:
        topology = topology.with_grid(parse_grid(options.grid))
    return [topology]


def prove_all(name: str, cases: Sequence[Topology], count: int | None) -> None:
    """Prove one algorithm over layouts and counts; print a line."""
    begin, proofs, refused = time.perf_counter(), 0, 0
    for topology in cases:
        size = topology.size
        counts = [size - 1, 3 * size + 1] if count is None else [count]
        try:
            forms = (False, True) if calls_groups(name, topology) else (False,)
        except UnsupportedTopology:
            refused += 1
            continue
        for elements, lowered in product(counts, forms):
            try:
                verify(name, topology, elements, lowered=lowered)
                proofs += 1
            except (WrongResult, Deadlock) as error:
                raise type(error)(
                    f"{name}, {topology.describe()}, {elements} elements: {error}"
                ) from None
    first, last = cases[0].size, cases[-1].size
    ranks = f"{first}..{last}" if first < last else f"{last}"
    note = f", {refused} layouts unsupported" if refused else ""
    print(
        f"{name:20} {ranks:>8} ranks  {proofs:4} proofs{note}  "
        f"exactly once, equal everywhere, no deadlock  "
        f"{time.perf_counter() - begin:6.1f} s",
        flush=True,
    )


def calls_groups(name: str, topology: Topology) -> bool:
    """Say whether an algorithm leaves work to the engine of the largest node."""
    rank = max(topology.nodes, key=len)[0]
    steps = world.schedules(name, topology, 3 * topology.size + 1)[rank]
    return any(isinstance(step, GroupCall) for step in steps)


if __name__ == "__main__":
    raise SystemExit(main())
