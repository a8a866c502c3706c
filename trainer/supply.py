"""Supply: the images of a run, a rank's part of them, and what makes its batches."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from trainer import course, dataset, groups, loader, phases, resizing
from trainer.dataset import Dataset
from trainer.place import Batch, Place
from trainer.sampler import Sampler, TestSampler
from trainer.settings import Settings

Data = tuple[Sampler, Dataset, Dataset]  # this rank's part; to train and to test on


def load(settings: Settings) -> tuple[Dataset, Dataset]:
    """Return the training and the test images."""
    module = dataset.find(settings.data)
    about = {"errors": settings.data_errors} if module.NEEDS_ROOT else {}
    training, test = (
        module.load(
            settings.data_dir,
            train=train,
            images=settings.recipe.images,
            classes=settings.recipe.model.classes,
            seed=settings.seed,
            sizes=resizing.sizes(settings.recipe),
            **about,
        )
        for train in (True, False)
    )
    if settings.loader == "dali":
        from trainer import dali

        dali.check(training)
    return training, test


def cut(settings: Settings, comm: Any, count: int) -> Sampler:
    """Return this rank's part of epochs of ``count`` images, as the run begins.

    Raises:
        InvalidArgument: an epoch does not fill the batch of a phase, or a batch asks
            for a momentum that cannot be, or the ranks cannot share the groups of
            batch normalisation.
    """
    batch = settings.recipe.batch
    images, times = batch.per_worker, batch.accumulation
    if batch.phases:
        images = times = 1
    sampler = Sampler(
        count,
        rank=comm.rank,
        size=comm.size,
        per_worker=images,
        accumulation=times,
        seed=settings.seed,
    )
    for phase in reversed(phases.of(settings.recipe, comm.size)):
        course.momentum(settings.recipe, phase)
        groups.cut(sampler, phase, settings.recipe.bn)
    return sampler


def batches(
    comm: Any, settings: Settings, place: Place, data: Data
) -> tuple[Iterable[Batch], Iterable[Batch]]:
    """Return what makes the batches of this rank: to train on, and to test on."""
    sampler, training, test = data
    per_worker = settings.recipe.batch.per_worker
    test_sampler = TestSampler(
        len(test), rank=comm.rank, size=comm.size, per_worker=per_worker
    )
    if settings.loader == "dali":
        from trainer import dali

        make = partial(dali.load, threads=max(1, settings.workers), place=place)
    else:
        make = partial(loader.load, workers=settings.workers, place=place)
    return make(training, sampler), make(test, test_sampler)
