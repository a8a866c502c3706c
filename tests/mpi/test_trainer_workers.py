"""Any number of ranks trains what one rank trains that accumulates, to 12 digits."""

import pytest
import torch
from double import assert_same, state, trained

from trainer.averages import Averages
from trainer.recipe import load, names

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def alone(comm):
    """Return a communicator of this rank only."""
    with comm.split(comm.rank) as found:
        yield found


@pytest.fixture
def output(comm, tmp_path):
    """Return a folder that all ranks share."""
    return comm.broadcast_object(tmp_path, root=0) / "together"


def workers(count):
    return ["--virtual-workers", str(count)]


@pytest.mark.parametrize("name", names())
def test_ranks_train_what_one_rank_accumulates(comm, alone, output, tmp_path, name):
    count = comm.size * load(name).bn.group
    one = trained(alone, tmp_path / "virtual", name, count, *workers(count))
    if load(name).batch.phases:
        assert_same(trained(comm, output, name, count, *workers(count)), one)
        return
    assert_same(trained(comm, output, name, count), one)
    steps = "--batch.accumulation", str(count)
    assert_same(trained(alone, tmp_path / "accumulated", name, count, *steps), one)


@pytest.mark.parametrize("name", ["goyal2017", "mikami2018_exp4", "akiba2017"])
@pytest.mark.parametrize("more", [-1, 1, 3], ids="{:+}".format)
def test_ranks_share_workers_evenly_or_not(comm, alone, output, tmp_path, name, more):
    count = comm.size + more or 5
    together = trained(comm, output, name, count, *workers(count))
    rows = state(together)["workers' averages"]
    assert len(rows) == together.phase.workers
    assert_same(
        together, trained(alone, tmp_path / "alone", name, count, *workers(count))
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_ranks_that_share_groups_train_and_store_as_one_rank(
    comm, alone, output, tmp_path, groups
):
    groups = groups if comm.size % groups == 0 else 1
    count, seen = groups * comm.size, []
    flags = "goyal2017", count, *workers(count), "--bn.group", str(comm.size)
    together = trained(comm, output, *flags)
    assert_same(together, trained(alone, tmp_path / "alone", *flags))
    rows = state(together)["workers' averages"]
    assert len(rows) == groups
    trained(
        alone, tmp_path / "again", *flags, "--resume", str(output),
        change=lambda run: seen.append(run.averages.own().clone()),
    )  # fmt: skip
    assert torch.equal(seen[0], rows.to(seen[0]))


def test_independent_shuffles_train_something_else(comm, alone, output, tmp_path):
    def shuffle(run):
        run.sampler.seed += comm.rank

    flags = "goyal2017", 8, *workers(8)
    together = trained(comm, output, *flags, change=shuffle)
    one = trained(alone, tmp_path / "alone", *flags)
    if comm.size == 1:
        assert_same(together, one)
    else:
        with pytest.raises(AssertionError, match="weights"):
            assert_same(together, one)


def test_one_running_average_for_all_workers_of_a_rank_is_something_else(
    comm, alone, output, tmp_path, monkeypatch
):
    count = comm.size + 1
    flags = "goyal2017", count, *workers(count)
    together = trained(comm, output, *flags)
    monkeypatch.setattr(Averages, "select", lambda self, worker: None)
    wrong = trained(alone, tmp_path / "alone", *flags)
    assert_same(together, wrong, but=["averages", "workers' averages", "result"])
    with pytest.raises(AssertionError, match="averages"):
        assert_same(together, wrong, but=["workers' averages", "result"])
