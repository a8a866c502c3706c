"""The published clusters whose host files lie in this directory, and one's own machine.

Link figures carry a mark: [paper] read in the paper, [derived] computed from it,
[secondary] a third party's description, [unconfirmed] a standard figure that nobody
checked on that machine.
"""

from dataclasses import dataclass

from .layout import Node, name_nodes


@dataclass(frozen=True)
class System:
    """A machine as its paper used it: ``count`` nodes of ``slots`` ranks.

    ``notes`` are the lines of the host file's header that say source, node and links.
    """

    name: str
    prefix: str
    count: int
    slots: int
    notes: tuple[str, ...]

    def nodes(self) -> list[Node]:
        """Name the nodes; 0 slots make one node, the machine itself."""
        if not self.slots:
            return [Node(self.prefix, 0)]
        return name_nodes([self.slots] * self.count, self.prefix)


SYSTEMS = {
    system.name: system
    for system in (
        System(
            "bigbasin",
            "bb",
            count=32,
            slots=8,
            notes=(
                "Big Basin, as used by P. Goyal et al.: Accurate, large minibatch SGD.",
                "arXiv 1706.02677, 2017.",
                "node     8 P100 [paper] in a hybrid cube mesh [unconfirmed]",
                "inside   NVLink 1, 4 links of 20 GB/s each way [unconfirmed]",
                "between  one 50 Gbit/s Ethernet [paper], 6.25 GB/s",
            ),
        ),
        System(
            "mn1",
            "mn",
            count=128,
            slots=8,
            notes=(
                "MN-1, as used by T. Akiba, S. Suzuki, K. Fukuda: Extremely large",
                "minibatch SGD.  arXiv 1711.04325, 2017.",
                "node     P100 [paper], 8 a node [secondary] on PCIe [derived]",
                "inside   PCIe 3 x16, 12 GB/s [unconfirmed]",
                "between  two FDR InfiniBand, 6.8 GB/s of data each [secondary]",
            ),
        ),
        System(
            "abci",
            "g",
            count=864,
            slots=4,
            notes=(
                "ABCI, as used by H. Mikami et al.: Massively distributed SGD.",
                "arXiv 1811.05233, 2018: 864 of 1088 nodes, 34 to a rack [secondary].",
                "node     4 V100 [paper]",
                "inside   NVLink 2, 6 links of 25 GB/s each way [unconfirmed]",
                "between  two EDR InfiniBand [paper], 12.5 GB/s each [unconfirmed];",
                "         full bisection in a rack, a third of it above [secondary]",
            ),
        ),
        System(
            "local",
            "localhost",
            count=1,
            slots=0,
            notes=(
                "The machine you are on.  Open MPI counts its cores as slots, MPICH",
                "starts any number of ranks.",
            ),
        ),
    )
}
