import numpy as np
import pytest
from alone import Alone

from collectives import Topology
from trainer import stragglers
from trainer.stragglers import Stragglers


class Four(Alone):
    """Four ranks, of which each computes longer than the one before, but one."""

    size = 4
    topology = Topology.uniform(nodes=2, local=2)
    computed = np.array([1.0, 2.0, 9.0, 4.0])

    def allgather(self, x):
        updates = x[0]
        waited = updates * 10.0 - self.computed * updates
        return np.stack([np.full(4, updates), self.computed * updates, waited], axis=1)


@pytest.fixture
def found():
    made = Stragglers(Four())
    for _ in range(3):
        for _ in range(5):
            made.note(1.0, 9.0)
        told = made.compare()
    return made, told


def test_an_interval_tells_mean_maximum_and_the_slowest_rank(found):
    assert found[1] == {
        "compute_s": 4.0, "compute_max_s": 9.0, "wait_s": 6.0, "slowest_rank": 2,
    }  # fmt: skip


def test_the_report_has_each_rank_over_all_updates(found):
    assert found[0].report() == {
        "updates": 15,
        "compute_s": [1.0, 2.0, 9.0, 4.0],
        "wait_s": [9.0, 8.0, 1.0, 6.0],
        "intervals_slowest": [0, 0, 3, 0],
        "node": [0, 0, 1, 1],
    }


def test_the_line_names_the_slowest_first(found):
    text = stragglers.line(found[0].report())
    assert "mean 4000.0 ms, max 9000.0 ms; slowest: rank 2 9000.0 ms (node 1," in text
    assert text.index("rank 2") < text.index("rank 3") < text.index("rank 1")
    assert "slowest in 3 of 3 intervals" in text and "rank 0" not in text


def test_updates_after_the_last_interval_count_too(found):
    found[0].note(1.0, 9.0)
    assert found[0].report()["updates"] == 16


def test_a_run_without_an_update_has_a_report():
    made = Stragglers(Alone())
    assert made.report() == {
        "updates": 0, "compute_s": [0.0], "wait_s": [0.0], "intervals_slowest": [0],
        "node": [0],
    }  # fmt: skip
