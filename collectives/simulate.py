"""Simulate schedules: time, steps and bytes on a described machine.

    python -m collectives.simulate --machine abci --np 1024 --algorithms ring,torus2d

A fourth reading of the same steps, on `collectives.world`.  A message takes
``alpha + n beta`` once both sides are ready, an addition ``n gamma``; every rank has
one port in and one port out for each kind of link, and the ranks of a node may share a
wire.  A rank does one step at a time, unless its algorithm sets ``OVERLAP``: then a
step starts as soon as the steps that it overlaps in chunk are done.  On uniform links
the result is the algorithm's ``cost()``.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from . import algorithms, world
from .chunk import Chunk
from .errors import CollectiveError, InvalidArgument, UnsupportedTopology
from .machine import Machine
from .step import Exchange, GroupCall
from .topology import Topology, parse_grid
from .usage import Parser


class Timing(NamedTuple):
    """What one collective took."""

    seconds: float
    steps: int  # of the rank that has most
    bytes_sent: int  # by the rank that sends most, point to point
    wire_bytes: int  # out of the node that sends most


class Clock:
    """The interpreter in which time passes.

    ``read[rank, atom]`` and ``written[rank, atom]`` tell until when a step in flight
    uses an atom; with ``overlap`` off one atom stands for the whole buffer.
    """

    def __init__(
        self,
        topology: Topology,
        machine: Machine,
        itemsize: int,
        atoms: dict[int, int] | None = None,
    ) -> None:
        """Begin at zero; ``atoms``, the numbered cuts, turns overlap on."""
        self.topology, self.machine, self.itemsize = topology, machine, itemsize
        self.atoms = atoms
        shape = (topology.size, 1 if atoms is None else len(atoms) - 1)
        self.read, self.written = np.zeros(shape), np.zeros(shape)
        self.free: defaultdict[Hashable, float] = defaultdict(float)
        self.sending: dict[int, tuple[Chunk, float]] = {}
        self.arriving: dict[int, float] = {}
        self.steps = [0] * topology.size
        self.sent = [0] * topology.size
        self.wired = [0] * len(topology.nodes)

    def span(self, chunk: Chunk) -> slice:
        """Return the atoms of a chunk."""
        if self.atoms is None:
            return slice(0, 1)
        return slice(self.atoms[chunk.start], self.atoms[chunk.stop])

    def idle(self, rank: int, chunk: Chunk) -> float:
        """Return when all earlier uses of a chunk have ended."""
        where = self.span(chunk)
        return float(max(self.read[rank, where].max(), self.written[rank, where].max()))

    def transfer(self, src: int, dst: int, step: Exchange) -> None:
        """Start the message when both sides, their ports and the wire are ready."""
        chunk, nbytes = step.recv, step.recv.size * self.itemsize
        a, b = self.topology.node_of[src], self.topology.node_of[dst]
        link = self.machine.between(self.topology, src, dst)
        ports = [("out", src, a == b), ("in", dst, a == b)]
        wires = [("wire out", a), ("wire in", b)] if a != b else []
        start = float(self.written[src, self.span(chunk)].max())
        if self.atoms is None:
            start = max(self.idle(src, chunk), self.idle(dst, chunk))
        elif not step.reduce:
            start = max(start, self.idle(dst, chunk))
        start = max([start, *(self.free[port] for port in ports)])
        if self.machine.shared:
            start = max([start, *(self.free[wire] for wire in wires)])
            self.free.update({wire: start + nbytes * link.beta for wire in wires})
        end = start + link.alpha + nbytes * link.beta
        self.free.update({port: end for port in ports})
        self.sending[src], self.arriving[dst] = (chunk, end), end
        self.sent[src] += nbytes
        self.wired[a] += nbytes if a != b else 0

    def finish(self, rank: int, step: Exchange) -> None:
        """Add what arrived; note how long the chunks have been in use."""
        self.steps[rank] += 1
        end = 0.0
        if step.src is not None:
            end = self.arriving.pop(rank)
            if step.reduce:
                end = max(end, self.idle(rank, step.recv), self.free["adder", rank])
                end += step.recv.size * self.itemsize * self.machine.gamma
                self.free["adder", rank] = end
            self.written[rank, self.span(step.recv)] = end
        if step.dst is not None:
            chunk, left = self.sending.pop(rank)
            where = self.span(chunk)
            self.read[rank, where] = np.maximum(self.read[rank, where], left)

    def group_call(self, call: GroupCall) -> None:
        """Occupy the engine of all members for the modelled time."""
        topology, chunk = self.topology, call.chunk
        inside = len({topology.node_of[rank] for rank in call.group}) == 1
        machine = self.machine
        link = machine.engine if inside else machine.flat(topology, crossing=1)
        ports = [(way, rank, inside) for rank in call.group for way in ("in", "out")]
        start = max(self.idle(rank, chunk) for rank in call.group)
        start = max([start, *(self.free[port] for port in ports)])
        nbytes = chunk.size * self.itemsize
        end = start + machine.group_call(call.kind, len(call.group), nbytes, link)
        self.free.update({port: end for port in ports})
        for rank in call.group:
            self.steps[rank] += 1
            self.written[rank, self.span(chunk)] = end

    def timing(self) -> Timing:
        """Return what has passed so far."""
        seconds = max(self.written.max(), self.read.max())
        return Timing(float(seconds), max(self.steps), max(self.sent), max(self.wired))


def simulate(
    name: str, topology: Topology, nbytes: int, machine: Machine, *, itemsize: int = 4
) -> Timing:
    """Return the timing of an allreduce of ``nbytes`` by the named algorithm."""
    count = nbytes // itemsize
    atoms = None
    if getattr(algorithms.load(name), "OVERLAP", False):
        atoms = world.cuts(world.schedules(name, topology, count)) or None
    clock = Clock(topology, machine, itemsize, atoms)
    world.run(world.schedules(name, topology, count), clock)
    return clock.timing()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = Parser(
        prog="python -m collectives.simulate",
        description="Time, steps and bytes of an allreduce on a described machine.",
    )
    parser.add_argument("--machine", default="abci", help="preset or JSON file")
    parser.add_argument("-n", "--np", type=int, required=True, help="ranks")
    parser.add_argument("--nodes", help="layout: 256x4, or node sizes 4,4,2")
    parser.add_argument("--grid", help="X x Y: 64x34")
    parser.add_argument("--algorithms", default="ring,torus2d", help="names, or all")
    parser.add_argument("--bytes", type=int, default=51114064, dest="nbytes")
    try:
        report(parser.parse_args(arguments))
    except CollectiveError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    return 0


def report(options: argparse.Namespace) -> None:
    """Print the table that the options ask for."""
    machine = Machine.load(options.machine)
    topology = place(options.np, machine.local, options.nodes)
    if options.grid:
        topology = topology.with_grid(parse_grid(options.grid))
    chosen = options.algorithms
    names = algorithms.names() if chosen == "all" else chosen.split(",")
    if chosen == "all":
        names = [name for name in names if supports(name, topology)]
    for name in names:
        algorithms.load(name)
    print(f"# {machine.name}: {machine.source}")
    print(f"# {topology.describe()}; {options.nbytes} bytes")
    print(f"{'algorithm':20} {'ms':>10} {'cost() ms':>10} {'steps':>6}", end="")
    print(f" {'MB/rank':>9} {'MB/node wire':>13}")
    for name in names:
        timing = simulate(name, topology, options.nbytes, machine)
        formula = algorithms.load(name).cost(topology, options.nbytes, machine)
        print(
            f"{name:20} {timing.seconds * 1e3:10.3f} {formula * 1e3:10.3f} "
            f"{timing.steps:6} {timing.bytes_sent / 1e6:9.3f} "
            f"{timing.wire_bytes / 1e6:13.3f}",
            flush=True,
        )


def supports(name: str, topology: Topology) -> bool:
    """Say whether an algorithm runs on a topology."""
    try:
        algorithms.load(name).cost(topology, 0, Machine.load("host"))
    except UnsupportedTopology:
        return False
    return True


def place(size: int, local: int, nodes: str | None) -> Topology:
    """Return the layout asked for, or full nodes of ``local`` ranks and a rest."""
    if nodes:
        return Topology.parse(nodes, size)
    if size < 1:
        raise InvalidArgument(f"--np {size}: expected at least one rank")
    full, rest = divmod(size, local)
    return Topology.sized([local] * full + ([rest] if rest else []))


if __name__ == "__main__":
    raise SystemExit(main())
