"""The comparison of trainers on any number of ranks."""

import pytest

pytest.importorskip("torch")

from bench import compare, training
from bench.compare_options import Options
from collectives import InvalidArgument
from trainer import update
from trainer.data import synthetic
from trainer.place import Place

pytestmark = pytest.mark.mpi

ALL = ("trainer", "ours", "ours:ring", "ddp-gloo", "none")
SMALL = {"model": "tiny", "image_size": 8, "batch": 2, "steps": 2, "warmup": 1}


def test_all_contenders_train_and_ours_as_ddp_does(mpi):
    meta, rows = compare.run(Options(ALL, **SMALL), mpi.COMM_WORLD)
    assert tuple(row.trainer for row in rows) == ALL
    whole, ours, ring, ddp, none = rows
    assert max(row.early_difference for row in rows[:3]) <= 1e-4
    assert {len(row.losses) for row in rows} == {2 * 3}
    assert ours.losses[0] == none.losses[0]  # the same weights and images at first
    assert whole.losses == pytest.approx(ours.losses, rel=1e-5)
    if mpi.COMM_WORLD.size > 1:
        assert ddp.losses[1] != none.losses[1]
    assert ours.ratio_ddp == pytest.approx(ddp.update_ms / ours.update_ms)
    assert whole.ratio_none == pytest.approx(none.update_ms / whole.update_ms)
    assert (
        "tiny, 2,926 parameters, 8x8 images, 2 of each rank, float32"
        in meta["training"]
    )


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_all_contenders_train_alike_in_half_precision(mpi, precision):
    how = {"precision": precision, "channels_last": True}
    meta, rows = compare.run(Options(ALL, **SMALL, **how), mpi.COMM_WORLD)
    assert max(row.early_difference for row in rows[:3]) <= 2e-2
    assert f"{precision}, channels_last" in meta["training"]


class Counting:
    """A contender that waits a second in every update."""

    updates = 0

    def update(self):
        self.updates += 1
        return lambda: 0.0

    def waited_s(self):
        return float(self.updates)


def test_blocks_are_timed_where_a_gpu_works_ahead(mpi, monkeypatch):
    finished = []
    monkeypatch.setattr(Place, "on_gpu", True)
    monkeypatch.setattr(Place, "finish", lambda self: finished.append(1))
    options = Options(("none",), **{**SMALL, "steps": 5, "rounds": 3})
    contenders, batches = {"none": Counting()}, [()] * 18
    world = mpi.COMM_WORLD
    found = compare.race(contenders, batches, options, world, Place())["none"]
    assert found.seconds.shape == found.waited.shape == (world.size, 3)
    assert found.losses.shape == (world.size, 3 * 6) and len(finished) == 2 * 3
    assert (found.waited == 1.0).all()


def test_another_kind_of_ddp_than_the_devices_is_refused(mpi):
    with pytest.raises(InvalidArgument, match="ddp-nccl: not on cpu; take ddp-gloo"):
        compare.run(Options(("ddp-nccl",), **SMALL), mpi.COMM_WORLD)


def test_rows_are_alike_on_all_ranks(mpi):
    result = compare.run(Options(("ours", "none"), **SMALL), mpi.COMM_WORLD)
    assert all(other == result for other in mpi.COMM_WORLD.allgather(result))


def test_a_trainer_that_does_not_average_is_noticed(mpi, monkeypatch):
    if mpi.COMM_WORLD.size == 1:
        pytest.skip("needs a second rank")
    monkeypatch.setattr(training.Reducer, "_on_gradient", lambda *_: None)
    monkeypatch.setattr(training.Reducer, "finish", lambda self: None)
    options = Options(("ours", "ddp-gloo"), **SMALL)
    _, rows = compare.run(options, mpi.COMM_WORLD)
    assert compare.report.beyond(rows, options.tolerance) == ["ours"]


def test_ranks_see_different_images_and_each_update_others(mpi):
    world = mpi.COMM_WORLD
    options = Options(("none",), **SMALL)
    batches = training.Batches(options, world.rank, world.size, Place())
    sums = [float(images.sum()) for images, _ in batches[0:2]]
    everyone = [value for row in world.allgather(sums) for value in row]
    assert len(set(everyone)) == 2 * world.size
    assert [float(images.sum()) for images, _ in batches[1:2]] == sums[1:]


def test_the_trainers_own_loop_makes_the_updates(mpi, monkeypatch):
    world, seen = mpi.COMM_WORLD, []
    make = update.make
    options = Options(("trainer", "none"), **SMALL)
    monkeypatch.setattr(
        update, "make", lambda run, batches: seen.append(run) or make(run, batches)
    )
    compare.run(options, world)
    run = seen[-1]
    assert len(seen) == run.updates == options.rounds * 3
    assert run.stragglers.mine[0] == len(seen) and run.sampler.size == world.size


def test_images_never_come_to_an_end(mpi, monkeypatch):
    world = mpi.COMM_WORLD
    monkeypatch.setattr(synthetic, "TRAINING", 5 * world.size)  # two updates an epoch
    options = Options(("trainer", "ours"), **{**SMALL, "steps": 4})
    _, (whole, ours) = compare.run(options, world)
    assert whole.losses == pytest.approx(ours.losses, rel=1e-4)
    assert len(whole.losses) == 2 * 5
