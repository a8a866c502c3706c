"""Explain: which algorithm ``auto`` takes for an allreduce, why, and what else it saw.

    python -m collectives.explain 1048576 --nodes 2x4 --machine abci
    python -m collectives.explain 1048576 --tuned table.json

Here nothing is known of the MPI library: without ``--tuned`` all is predicted.
`Communicator.explain` says the same of a running program.
"""

import sys

from . import tuned
from .errors import CollectiveError, InvalidArgument
from .machine import Machine
from .select import Call, ranking
from .topology import Topology
from .usage import Parser


def explain(
    topology: Topology, call: Call, machine: Machine, found: tuned.Found
) -> str:
    """Return what is reduced, how its time is known, and the candidates in order."""
    memory = "registered" if call.registered else "not registered"
    kind = {"half": "half types"}.get(call.dtype, call.dtype)
    candidates, measured_at = ranking(topology, call, machine, found.table)
    if measured_at is not None:
        why, known = f"{found.note}: measured at {measured_at} bytes", "measured"
    elif found.table is not None:
        why, known = f"{found.note}: nothing measured for this", "predicted"
    else:
        why, known = found.note, "predicted"
    if measured_at is None:
        why += f"; predicted as on {machine.name}"
    lines = [
        f"allreduce of {call.nbytes} bytes, {kind}, {memory}, {topology.describe()}",
        f"   {why}",
    ]
    width = max(len(str(choice)) for _, choice in candidates)
    for i, (seconds, choice) in enumerate(candidates):
        mark = "->" if i == 0 else "  "
        lines.append(f"{mark} {choice!s:{width}} {seconds * 1e6:12.1f} us {known}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        options = parser().parse_args(arguments)
        if options.nbytes < 0:
            raise InvalidArgument(f"NBYTES {options.nbytes}: expected 0 or more")
        found = tuned.Found(None, "no tuned table given")
        layout = options.nodes
        if options.tuned:
            table = tuned.read(options.tuned)
            layout = layout or table.layout
            found = tuned.find(options.tuned, layout, table.mpi, table.cpu)
        topology = Topology.parse(layout or "1x4", None)
        alone = len(topology.nodes) == 1
        call = Call(options.nbytes, True, options.dtype, options.registered, alone)
        print(explain(topology, call, Machine.load(options.machine), found))
    except CollectiveError as error:
        print(f"explain: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> Parser:
    """Return the parser of the command line."""
    result = Parser(
        prog="python -m collectives.explain",
        description="Say which algorithm auto takes for an allreduce, and why.",
    )
    add = result.add_argument
    add("nbytes", type=int, metavar="NBYTES", help="bytes that a rank contributes")
    add("--nodes", help="layout: 2x4, or node sizes 3,2,1 (default: the table's, 1x4)")
    add("--machine", default="host", help="preset or JSON file, for predictions")
    add("--tuned", metavar="FILE", help="what python -m bench.tune has written")
    add("--dtype", choices=tuned.CLASSES, default="float32", help="class of types")
    add("--registered", action="store_true", help="memory of Communicator.empty")
    return result


if __name__ == "__main__":
    raise SystemExit(main())
