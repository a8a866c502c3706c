import doctest
from dataclasses import replace

import pytest

from collectives import InvalidArgument
from trainer import phases, recipe
from trainer.phases import Phase
from trainer.recipe import IMAGENET, Recipe

MIKAMI = {
    "mikami2018_reference": [(0, 32768, 32)],
    "mikami2018_exp1": [(0, 34816, 16), (30, 69632, 32)],
    "mikami2018_exp2": [(0, 55296, 16), (30, 55296, 32)],
    "mikami2018_exp3": [(0, 55296, 16), (30, 65536, 32)],
    "mikami2018_exp4": [
        (0, 34816, 16), (30, 69632, 16), (45, 87040, 32), (75, 121856, 32),
    ],
}  # fmt: skip
WORKERS = {
    "mikami2018_reference": [1024],
    "mikami2018_exp1": [2176, 2176],
    "mikami2018_exp2": [3456, 1728],
    "mikami2018_exp3": [3456, 2048],
    "mikami2018_exp4": [2176, 4352, 2720, 3808],
}


def with_phases(*values):
    plain = Recipe()
    return replace(plain, batch=replace(plain.batch, phases=values))


@pytest.mark.parametrize("name", MIKAMI)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_published_phases_hold_whatever_the_number_of_ranks(name, size):
    found = phases.of(recipe.load(name), size)
    assert [tuple(phase) for phase in found] == MIKAMI[name]
    assert [phase.workers for phase in found] == WORKERS[name]


def test_without_phases_the_ranks_make_the_batch():
    goyal = recipe.load("goyal2017")
    for size in (1, 8, 256):
        assert phases.of(goyal, size) == [Phase(0, 32 * size, 32)]


@pytest.mark.parametrize(
    ("epoch", "batch"),
    [(0, 34816), (29.99, 34816), (30, 69632), (45, 87040), (75, 121856), (90, 121856)],
)
def test_a_phase_begins_at_its_very_epoch(epoch, batch):
    found = phases.of(recipe.load("mikami2018_exp4"), 1)
    assert phases.at(found, epoch).batch == batch


@pytest.mark.parametrize("name", MIKAMI)
@pytest.mark.parametrize("size", [1, 2, 3, 1000, 1728, 2176, 3456, 4096, 4352, 9999])
def test_all_microbatches_of_an_update_are_shared(name, size):
    for phase in phases.of(recipe.load(name), size):
        share = phases.share(phase, size)
        rest = share.active - share.longer
        assert share.longer * share.most + rest * share.least == phase.workers
        assert share.most - share.least in (0, 1) and share.active <= size
        assert share.least >= 1 and share.active == min(size, phase.workers)


def test_more_workers_than_ranks_accumulate_and_fewer_leave_ranks_idle():
    grown = phases.of(recipe.load("mikami2018_exp4"), 4096)[1]
    assert phases.share(grown, 4096) == (4096, 2, 256, 1)
    halved = phases.of(recipe.load("mikami2018_exp2"), 3456)[1]
    assert phases.share(halved, 3456) == (1728, 1, 1728, 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([(1.0, 64, 32)], "begin at 0 and rise, got 1"),
        ([(0.0, 64, 32), (5.0, 64, 32), (5.0, 64, 16)], "got 0, 5, 5"),
        ([(0.0, 65, 32)], "batch of 65 images from epoch 0 on is no multiple of 32"),
        ([(0.0, 0, 32)], "batch of 0 images"),
        ([(0.0, 64, 0)], "no multiple of 0 images"),
    ],
)
def test_phases_that_cannot_be_are_refused(values, words):
    with pytest.raises(InvalidArgument, match=words):
        phases.of(with_phases(*values), 1)


@pytest.mark.parametrize("name", MIKAMI)
@pytest.mark.parametrize("workers", [1, 2, 3, 1024, 3456, 9999])
def test_virtual_workers_make_the_first_batch_and_the_others_follow(name, workers):
    published = phases.of(recipe.load(name), 1)
    found = phases.for_workers(published, workers)
    assert found[0].workers == workers
    ratio = workers / published[0].workers
    for mine, theirs in zip(found, published, strict=True):
        assert (mine.epoch, mine.per_worker) == (theirs.epoch, theirs.per_worker)
        assert abs(mine.workers - theirs.workers * ratio) <= 0.5 or mine.workers == 1
    assert phases.for_workers(found, workers) == found
    assert phases.for_workers(published, published[0].workers) == published


@pytest.mark.parametrize("name", MIKAMI)
@pytest.mark.parametrize("workers", [1, 8, 700, 1437])
def test_virtual_workers_keep_their_number_on_few_images(name, workers):
    asked = phases.for_workers(phases.of(recipe.load(name), 1), workers)
    found = phases.lower(asked, training=1437)
    assert found[0].workers == workers
    for mine, theirs in zip(found, asked, strict=True):
        assert mine.workers == min(theirs.workers, 1437)
        assert mine.batch <= 1437 and 1 <= mine.per_worker <= theirs.per_worker


@pytest.mark.parametrize("name", MIKAMI)
@pytest.mark.parametrize("size", [1, 2, 3, 64, 700, 1437])
def test_phases_fit_any_small_data_set(name, size):
    fitted = phases.scale(phases.of(recipe.load(name), size), training=1437, size=size)
    assert phases.of(with_phases(*map(tuple, fitted)), size) == fitted
    assert [phase.epoch for phase in fitted] == [p[0] for p in MIKAMI[name]]
    for phase in fitted:
        assert phase.batch <= 1437
        assert phases.share(phase, size).active == size


def test_where_it_can_a_small_data_set_keeps_the_updates_of_an_epoch():
    published = phases.of(recipe.load("mikami2018_exp4"), 1)
    training = IMAGENET // 16
    fitted = phases.scale(published, training=training, size=1)
    for small, large in zip(fitted, published, strict=True):
        assert small.batch == pytest.approx(large.batch / 16, rel=0.01)
        assert training // small.batch == pytest.approx(IMAGENET // large.batch, abs=1)


def test_doctests():
    assert doctest.testmod(phases).failed == 0
