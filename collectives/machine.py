"""Machine: what a message, a byte and an addition cost, on which link.

Used by every ``cost()`` and by the clock of `collectives.simulate`.  Sending ``n``
bytes takes ``alpha + n beta`` seconds, combining them with local data ``n gamma``.
Links are full duplex.  Where ``shared`` is set, all ranks of a node share one wire.
"""

import json
from dataclasses import asdict, dataclass
from math import ceil, log2
from pathlib import Path
from typing import NamedTuple

from .errors import InvalidArgument
from .topology import Topology


class Link(NamedTuple):
    """Latency in seconds, and seconds for each byte."""

    alpha: float
    beta: float


@dataclass(frozen=True)
class Machine:
    """Links inside a node and between nodes, and the speed of additions.

    ``inter.beta`` is that of a whole node's wire if it is ``shared``, else of a rank's;
    a node has ``local`` ranks.  ``node`` is the link of group calls in a node, where
    that is not the one of messages.
    """

    name: str
    intra: Link
    inter: Link
    gamma: float
    shared: bool = False
    local: int = 1
    source: str = ""
    node: Link | None = None

    @classmethod
    def uniform(cls, alpha: float, beta: float, gamma: float) -> "Machine":
        """Make all links alike and private: the model of the closed formulas."""
        return cls("uniform", Link(alpha, beta), Link(alpha, beta), gamma)

    @classmethod
    def load(cls, name: str) -> "Machine":
        """Return a preset by name, or read the JSON file at that path.

        Raises:
            InvalidArgument: neither a preset nor a readable description.
        """
        if name in PRESETS:
            return PRESETS[name]
        try:
            fields = json.loads(Path(name).read_text("utf-8"))
            fields |= {key: Link(*fields[key]) for key in ("intra", "inter")}
            if fields.get("node") is not None:
                fields["node"] = Link(*fields["node"])
            return cls(**fields)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InvalidArgument(
                f"machine {name!r}: neither one of {', '.join(PRESETS)} nor a JSON "
                f"file with the fields of Machine ({error})"
            ) from error

    def save(self, path: str) -> None:
        """Write the JSON that `load` reads."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @property
    def engine(self) -> Link:
        """The link of group calls inside a node."""
        return self.node or self.intra

    def between(self, topology: Topology, a: int, b: int) -> Link:
        """Return the link from rank ``a`` to rank ``b``."""
        same = topology.node_of[a] == topology.node_of[b]
        return self.intra if same else self.inter

    def flat(self, topology: Topology, crossing: int | None = None) -> Link:
        """Return the link that paces an algorithm that ignores nodes.

        ``crossing`` ranks of a node use its wire at the same time (None: all).
        """
        if len(topology.nodes) == 1:
            return self.intra
        wire = self.wire(
            max(map(len, topology.nodes)) if crossing is None else crossing
        )
        return Link(max(self.intra.alpha, wire.alpha), max(self.intra.beta, wire.beta))

    def wire(self, crossing: int) -> Link:
        """Return one rank's part of its node's wire, used by ``crossing`` ranks."""
        return Link(
            self.inter.alpha, self.inter.beta * (crossing if self.shared else 1)
        )

    def group_call(self, kind: str, p: int, nbytes: float, link: Link) -> float:
        """Return seconds that a `GroupCall` takes on ``p`` ranks.

        The model is the usual one of each collective: rings for reduce_scatter and
        allgather, a binomial tree for reduce and broadcast, and for allreduce the
        better of recursive doubling and recursive halving and doubling.
        """
        levels, share = ceil(log2(p)), (p - 1) / p * nbytes
        whole = levels * (link.alpha + nbytes * link.beta)
        if kind == "broadcast":
            return whole
        if kind == "reduce":
            return whole + levels * nbytes * self.gamma
        if kind == "allgather":
            return (p - 1) * link.alpha + share * link.beta
        if kind == "reduce_scatter":
            return (p - 1) * link.alpha + share * (link.beta + self.gamma)
        halving = 2 * (levels * link.alpha + share * link.beta) + share * self.gamma
        return min(whole + levels * nbytes * self.gamma, halving)


# Accelerator figures for ABCI and MN-1: NCCL 2.5.6, src/graph/tuning.cc, ring "Simple":
# 5.7 us a step inside a node, 6.6 us between nodes.  An addition reads two operands and
# writes one at the memory rate that the machine sustains.
PRESETS = {
    machine.name: machine
    for machine in (
        Machine(
            "bigbasin",
            intra=Link(5.7e-6, 1 / 36e9),
            inter=Link(30e-6, 1 / 5e9),
            gamma=3 / 500e9,
            shared=True,
            local=8,
            source="Goyal et al. 2017: 8 P100 a node, one 50 GbE; 30 us and 5 GB/s "
            "over TCP fit its 'three times the ring at 1 MB' (derived); two NVLink "
            "rings of 18 GB/s and 500 GB/s of memory: chosen by us",
        ),
        Machine(
            "mn1",
            intra=Link(5.7e-6, 1 / 12e9),
            inter=Link(6.6e-6, 1 / 13.6e9),
            gamma=3 / 500e9,
            shared=True,
            local=8,
            source="Akiba et al. 2017: 8 P100 a node on PCIe (12 GB/s, NCCL 2.5.6), "
            "two FDR InfiniBand of 6.8 GB/s data rate (secondary); 500 GB/s of memory: "
            "chosen by us",
        ),
        Machine(
            "abci",
            intra=Link(5.7e-6, 1 / 60e9),
            inter=Link(6.6e-6, 1 / 24e9),
            gamma=3 / 700e9,
            shared=True,
            local=4,
            source="Mikami et al. 2018: 4 V100 a node with NVLink2 (60 GB/s), two EDR "
            "InfiniBand (12 GB/s each, NCCL 2.5.6); 700 GB/s of memory: chosen by us",
        ),
        Machine(
            "host",
            intra=Link(3e-6, 1 / 4e9),
            inter=Link(20e-6, 1 / 1.2e9),
            gamma=1 / 6e9,
            shared=True,
            node=Link(1e-6, 1 / 8e9),
            source="a processor core over shared memory, and 10 GbE: chosen by us, "
            "replaced by what is measured where that exists",
        ),
        Machine(
            "tencent",
            intra=Link(5.7e-6, 1 / 12e9),
            inter=Link(6.6e-6, 1 / 12.5e9),
            gamma=3 / 500e9,
            shared=True,
            local=8,
            source="Jia et al. 2018: P40 on PCIe 3 (12 GB/s), one 100 GbE (12.5 GB/s); "
            "8 GPUs a node, NCCL 2.5.6's latencies and 500 GB/s of memory: chosen by "
            "us",
        ),
    )
}
