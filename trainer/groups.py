"""Groups: which workers normalise together, and on which ranks they are.

Workers are the microbatches of an update, in order; ``bn.group`` of them, side by side,
share the statistics of batch normalisation.  Four workers to a group, eight workers:

    ranks   1           2           4         8
    groups  | 0..3 |    | 0..3 |    |0 1|     |0|  |1|  |2|  |3|
            | 4..7 |    ||4..7||    |2 3|     `------------------ one group
            one rank    one each    `-- two ranks, two workers each

A rank that has all workers of a group gives the model their images at once, which is
the same and needs no communication.  Else the ranks of a group add their sums.
"""

from typing import Any, NamedTuple

from collectives import InvalidArgument
from trainer import phases, resizing
from trainer.fields import Model, Norm
from trainer.phases import Phase
from trainer.recipe import Recipe


class Layout(NamedTuple):
    """Where the workers of a group are."""

    merged: int = 1  # workers whose images a rank gives the model at once
    ranks: int = 1  # that share their statistics


def of(phase: Phase, config: Norm, size: int) -> Layout:
    """Lay the groups of a phase on ``size`` ranks.

    Raises:
        InvalidArgument: the workers make no whole groups, or the ranks cannot share
            them, or a worker's images are no whole ghost batches.
    """
    if config.ghost and phase.per_worker % config.ghost:
        raise InvalidArgument(
            f"--bn.ghost: got {config.ghost}, expected a divisor of the "
            f"{phase.per_worker} images of a microbatch; give --bn.ghost, or another "
            "--batch.per_worker"
        )
    if config.group == 1:
        return Layout()
    groups, rest = divmod(phase.workers, config.group)
    if rest:
        raise InvalidArgument(
            f"--bn.group: got {config.group}, expected a divisor of the "
            f"{phase.workers} microbatches an update from epoch {phase.epoch:g} on; "
            "use a divisor, or another number of ranks, --virtual-workers or "
            "--batch.accumulation"
        )
    if not phases.fits(groups, config.group, size):
        several = [d for d in range(2, config.group + 1) if config.group % d == 0]
        valid = ", ".join(str(groups * d) for d in several)
        few = "1 rank" if groups == 1 else f"1 to {groups} ranks"
        raise InvalidArgument(
            f"--bn.group: {size} ranks cannot share {groups} group(s) of "
            f"{config.group} microbatches evenly; use {few}, or one of {valid}"
        )
    ranks = max(1, size // groups)
    return Layout(config.group // ranks, ranks)


def cut(sampler: Any, phase: Phase, config: Norm) -> Layout:
    """Have a `trainer.sampler.Sampler` give a rank what it normalises at once.

    Raises:
        InvalidArgument: as `of`, or an epoch has fewer images than the batch.
    """
    layout = of(phase, config, sampler.size)
    sampler.set_batch(phase.batch, phase.per_worker * layout.merged)
    return layout


def check_variance(values: Recipe, size: int) -> None:
    """Refuse statistics of one value, which has no variance.

    That is one image alone whose last features are one pixel.

    Raises:
        InvalidArgument: with what to change.
    """
    parts, config = phases.of(values, size), values.bn
    for epoch, pixels in enumerate(resizing.sizes(values)):
        phase = phases.of_epoch(values, parts, epoch)
        if config.ghost or phase.per_worker * config.group > 1:
            continue
        if features(values.model, pixels) > 1:
            continue
        raise InvalidArgument(
            f"batch: {phase.workers:,} microbatches of 1 image in epoch {epoch}, but "
            f"the last features of an image of {pixels} pixels are 1 pixel, and one "
            "value has no variance to normalise by; use fewer ranks or "
            "--virtual-workers, a larger --batch.per_worker, --bn.group 2, or "
            f"--images.size {(2 << len(values.model.blocks)) + 1}"
        )


def features(config: Model, pixels: int) -> int:
    """Return the last features' pixels, on a side, of images of so many.

    Stem, pooling and each stage but the first halve them, rounded up.

    >>> features(Model(), 224), features(Model(), 33), features(Model(), 32)
    (7, 2, 1)
    """
    return -(-pixels // (2 << len(config.blocks)))


def text(phase: Phase, config: Norm, size: int) -> str:
    """Say how ``size`` ranks share the microbatches of an update.

    >>> text(Phase(0, 96, 8), Norm(group=6), 4)
    '1 on 4 ranks, each of 3 workers, groups of 2 ranks'
    """
    layout = of(phase, config, size)
    merged = phase._replace(per_worker=phase.per_worker * layout.merged)
    parts = [phases.share(merged, size).text]
    if layout.merged > 1:
        parts.append(f"each of {layout.merged} workers")
    if layout.ranks > 1:
        parts.append(f"groups of {layout.ranks} ranks")
    return ", ".join(parts)
