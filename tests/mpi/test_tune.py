"""Tuning on any number of ranks: the same lines on all, and no wrong algorithm."""

import pytest

from bench.contest import Contest, candidates
from bench.options import Options
from bench.tune import run
from collectives import Choice, Communicator, WrongResult, algorithms

pytestmark = pytest.mark.mpi

SMALL = Options((), min=4, max=4096, factor=32, iters=1)


def test_all_ranks_have_the_same_lines_for_every_type_and_memory(mpi, everywhere):
    lines = run(SMALL, mpi.COMM_WORLD)
    assert all(other == lines for other in everywhere(lines))
    kinds = {(line.dtype, line.registered) for line in lines}
    assert kinds == {(d, r) for d in ("float32", "half") for r in (False, True)}
    for line in lines:
        for times in line.measured_us.values():
            assert times[line.choice] >= 0


def test_all_algorithms_are_candidates_but_that_of_deterministic_sums(comm):
    names = set(algorithms.names()) - {"rank_order"}
    assert {choice.algorithm for choice in candidates(comm, "float32")} == names


def test_long_buffers_try_other_segments_and_depths(comm, mpi):
    long = Options((), min=1 << 18, max=1 << 18, iters=1)
    ((nbytes, times),) = Contest(long, comm, mpi.COMM_WORLD, False).sizes()
    assert nbytes == 1 << 18
    assert any(choice.segment for choice in times) == (comm.size > 1)
    assert any(choice.depth for choice in times) == (comm.size > 1)


@pytest.mark.mpi(min_size=2)
def test_an_algorithm_with_a_wrong_result_ends_the_tuning_on_all_ranks(
    mpi, monkeypatch
):
    def idle(self, x, *args, algorithm="auto", **options):
        if Choice.parse(algorithm) != Choice("tree"):
            allreduce(self, x, *args, algorithm=algorithm, **options)

    allreduce = Communicator.allreduce
    monkeypatch.setattr(Communicator, "allreduce", idle)
    with pytest.raises(WrongResult, match=r"tree: \d+ wrong elements at 4 bytes"):
        run(SMALL, mpi.COMM_WORLD)
