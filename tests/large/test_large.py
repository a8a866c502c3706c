"""Proofs at the sizes of the published clusters."""

import pytest

from collectives import Topology
from collectives.verify import verify

GRIDS = {1024: (32, 32), 2176: (64, 34), 3456: (72, 48), 4096: (64, 64)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["halving_doubling", "torus2d", "crossed_torus2d"])
@pytest.mark.parametrize("size", GRIDS)
def test_the_published_sizes_are_proved(name, size):
    verify(name, Topology.uniform(nodes=size // 4, local=4, grid=GRIDS[size]))


@pytest.mark.timeout(300)
def test_the_ring_of_1024_is_proved():
    verify("ring", Topology.uniform(nodes=256, local=4))
