"""Batch-size control: how many images an update has, in each part of a run.

A phase is (epoch, batch, per_worker): from that epoch of the span on, an update sees
``batch`` images in microbatches of ``per_worker``.  Any number of ranks shares them: k
microbatches on p ranks are ``k // p`` or one more for each.  More ranks than
microbatches leave some idle; fewer ranks accumulate.  Mathematically all this is the
same, as batch normalisation sees a microbatch only.

An epoch has one batch, which its permutation is cut into.  So a phase begins with the
first epoch of the run that does not begin before it in the span: in a run of another
length up to an epoch later than the rate, which follows the span at each update.
``smith2017 --epochs 14`` lowers the rate at epoch 4.67 and doubles the batch at 5.  A
phase that no epoch of a short run begins in has none.  The plan (`trainer.course`)
shows the epochs.
"""

from itertools import count, pairwise
from typing import NamedTuple

from collectives import InvalidArgument
from trainer import lr
from trainer.recipe import IMAGENET, Recipe


class Phase(NamedTuple):
    """One part of a run."""

    epoch: float  # of the span, where it begins
    batch: int  # images of an update
    per_worker: int  # images of a microbatch

    @property
    def workers(self) -> int:
        """Microbatches of an update: the workers of a run without accumulation."""
        return self.batch // self.per_worker


class Share(NamedTuple):
    """How ranks share the microbatches of one update."""

    active: int  # ranks with any
    most: int  # microbatches of the first ``longer`` ranks
    longer: int
    least: int  # of the other active ones

    @property
    def text(self) -> str:
        """The share in words.

        >>> Share(active=4096, most=2, longer=256, least=1).text
        '2 on 256 ranks, 1 on 3840'
        """
        if self.longer == self.active:
            return f"{self.most} on {self.active} ranks"
        rest = self.active - self.longer
        return f"{self.most} on {self.longer} ranks, {self.least} on {rest}"


def of(recipe: Recipe, size: int) -> list[Phase]:
    """Return the phases of a run on ``size`` ranks: one, where the recipe has none.

    Raises:
        InvalidArgument: they do not begin at epoch 0, or are out of order, or a batch
            is no multiple of its microbatch.
    """
    batch = recipe.batch
    if not batch.phases:
        total = size * batch.per_worker * batch.accumulation
        return [Phase(0.0, total, batch.per_worker)]
    phases = [Phase(*values) for values in batch.phases]
    if phases[0].epoch != 0 or any(a.epoch >= b.epoch for a, b in pairwise(phases)):
        raise InvalidArgument(
            f"--batch.phases: expected epochs that begin at 0 and rise, got "
            f"{', '.join(f'{phase.epoch:g}' for phase in phases)}"
        )
    for phase in phases:
        if min(phase[1:]) < 1 or phase.batch % phase.per_worker:
            raise InvalidArgument(
                f"--batch.phases: a batch of {phase.batch} images from epoch "
                f"{phase.epoch:g} on is no multiple of {phase.per_worker} images per "
                f"worker"
            )
    return phases


def at(phases: list[Phase], epoch: float) -> Phase:
    """Return the phase that ``epoch`` of the span is in."""
    return [phase for phase in phases if phase.epoch <= epoch][-1]


def of_epoch(recipe: Recipe, phases: list[Phase], epoch: int) -> Phase:
    """Return the phase of a whole epoch of the run."""
    return at(phases, lr.span_epoch(recipe, epoch=epoch, epochs=recipe.epochs))


def share(phase: Phase, size: int) -> Share:
    """Share the microbatches of an update among ``size`` ranks.

    >>> share(Phase(0, 55296, 32), 3456)
    Share(active=1728, most=1, longer=1728, least=1)
    """
    active = min(size, phase.workers)
    least, rest = divmod(phase.workers, active)
    return Share(active, least + (rest > 0), rest or active, least)


def fits(groups: int, group: int, size: int) -> bool:
    """Say whether ``size`` ranks can share ``groups`` groups of ``group`` workers.

    A rank has whole groups, or else as large a part of one as the others of the group.

    >>> [size for size in range(1, 13) if fits(2, 6, size)]
    [1, 2, 4, 6, 12]
    """
    if size <= groups:
        return True
    return size % groups == 0 and group % (size // groups) == 0


def for_workers(phases: list[Phase], workers: int) -> list[Phase]:
    """Have ``workers`` microbatches in the first phase, in proportion in the others.

    >>> for_workers([Phase(0, 34816, 16), Phase(30, 55296, 32)], 8)[1]
    Phase(epoch=30, batch=192, per_worker=32)
    """
    ratio = workers / phases[0].workers
    return [
        phase._replace(batch=phase.per_worker * max(1, round(phase.workers * ratio)))
        for phase in phases
    ]


def lower(phases: list[Phase], *, training: int) -> list[Phase]:
    """Lower the images of a microbatch until ``training`` images have one per worker.

    Where there are fewer images than workers, some workers are left out.

    >>> lower([Phase(0, 2048, 32)], training=1437)
    [Phase(epoch=0, batch=1408, per_worker=22)]
    """
    lowered = []
    for phase in phases:
        images = min(phase.per_worker, max(1, training // phase.workers))
        batch = images * min(phase.workers, training)
        lowered.append(Phase(phase.epoch, batch, images))
    return lowered


def scale(
    phases: list[Phase], *, training: int, size: int, group: int = 1
) -> list[Phase]:
    """Fit phases made for ImageNet to ``training`` images on ``size`` ranks.

    An epoch keeps its number of updates as far as possible: the batches shrink as the
    data, but each rank keeps a microbatch, of fewer images where there are too few, and
    the ranks can share whole groups of ``group`` microbatches.
    """
    fitted = []
    for epoch, batch, per_worker in phases:
        images = min(per_worker, max(1, training // (size * group)))
        least = max(1, round(batch * training / IMAGENET / (images * group)))
        wanted = next(n for n in count(least) if fits(n, group, size))
        most = max(1, training // (images * group))
        if wanted > most:  # the next below, if there is one
            wanted = next((n for n in range(most, 0, -1) if fits(n, group, size)), most)
        fitted.append(Phase(epoch, images * group * wanted, images))
    return fitted
