"""Show a schedule: who sends what to whom, step by step.

    python -m collectives.show ring -n 4

A column is a rank, a line is a step of its program.  ``>1 [6,8)`` sends elements 6 and
7 to rank 1; ``+3 [4,6)`` adds what comes from rank 3 to elements 4 and 5, ``=3 [4,6)``
replaces them.
"""

import sys
from itertools import zip_longest

from . import algorithms, world
from .chunk import Chunk
from .errors import CollectiveError, InvalidArgument
from .step import GroupCall, Step
from .topology import Topology, parse_grid
from .usage import Parser

MAX_COLUMNS = 8


def describe(step: Step | None) -> str:
    """Write one step in a few characters.

    >>> from collectives import Exchange
    >>> describe(Exchange(1, Chunk(6, 8), 3, Chunk(4, 6), reduce=True))
    '>1 [6,8) +3 [4,6)'
    """
    if step is None:
        return ""
    if isinstance(step, GroupCall):
        root = "" if step.root is None else f" root {step.root}"
        group = ",".join(map(str, step.group))
        return f"{step.kind} {interval(step.chunk)} in {group}{root}"
    sends = f">{step.dst} {interval(step.send)}" if step.dst is not None else ""
    sign = "+" if step.reduce else "="
    gets = f"{sign}{step.src} {interval(step.recv)}" if step.src is not None else ""
    return f"{sends} {gets}".strip()


def interval(chunk: Chunk) -> str:
    """Write a chunk as a half-open interval."""
    return f"[{chunk.start},{chunk.stop})"


def table(name: str, topology: Topology, count: int, *, lowered: bool = False) -> str:
    """Return the steps of all ranks as text, of the first ``MAX_COLUMNS`` if many."""
    everybody = world.schedules(name, topology, count, lowered=lowered)
    programs = [[describe(step) for step in steps] for steps in everybody]
    shown = programs[:MAX_COLUMNS]
    heads = [f"rank {rank}" for rank in range(len(shown))]
    widths = [max(map(len, [head, *p])) for head, p in zip(heads, shown, strict=True)]
    lines = [f"{name}: {topology.describe()}, {count} elements", ""]
    for i, cells in enumerate([heads, *zip_longest(*shown, fillvalue="")]):
        padded = [cell.ljust(w) for cell, w in zip(cells, widths, strict=True)]
        lines.append(f"{i or 'step':>4}  " + "  ".join(padded).rstrip())
    if len(programs) > len(shown):
        lines.append(f"      ... and {len(programs) - len(shown)} more ranks")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = Parser(prog="python -m collectives.show", description="Show a schedule.")
    parser.add_argument("algorithm", help=", ".join(algorithms.names()))
    parser.add_argument("-n", "--np", type=int, help="ranks (default: nodes', 4)")
    parser.add_argument("--nodes", help="layout: 2x2, or node sizes 3,2,1")
    parser.add_argument("--grid", help="X x Y: 4x2")
    parser.add_argument("--count", type=int, help="elements (default 2 p)")
    parser.add_argument(
        "--lowered", action="store_true", help="group calls as point-to-point steps"
    )
    try:
        options = parser.parse_args(arguments)
        if options.np is not None and options.np < 1:
            raise InvalidArgument(f"--np {options.np}: expected at least one rank")
        topology = Topology.parse(options.nodes or f"1x{options.np or 4}", options.np)
        if options.grid:
            topology = topology.with_grid(parse_grid(options.grid))
        count = 2 * topology.size if options.count is None else options.count
        print(table(options.algorithm, topology, count, lowered=options.lowered))
    except CollectiveError as error:
        print(f"show: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
