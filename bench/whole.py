"""Whole: the trainer as a contender of `bench.compare`, with all it does in an update.

Its own loop makes the updates (`trainer.loop`): images from its loader, the rate for
where the run is, the times that ranks compare, the lines of a log, and the sum over all
ranks that tells the loss.  Beside ``none``, a plain loop, one sees what that costs.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from trainer import loop, supply
from trainer.assemble import assemble
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.recipe import Recipe
from trainer.record import Recorder
from trainer.settings import Settings
from trainer.training import Training

from .compare_options import Options


class Whole:
    """A run of the trainer, of which each update is made when it is asked for."""

    def __init__(self, options: Options, base: Recipe, comm: Any, place: Place) -> None:
        """Build all that a run on synthetic images has; all ranks do so together."""
        settings = settings_of(options, base)
        images, test = supply.load(settings)
        data = supply.cut(settings, comm, len(images)), images, test
        self.run = assemble(comm, settings, place, Recorder(None), Interrupt(), data)
        self.losses = losses(self.run)

    def update(self, *_: Any) -> Callable[[], float]:
        """Train on the next images of its own; return how to read the mean loss."""
        loss = next(self.losses)
        return lambda: loss

    def waited_s(self) -> float:
        """Return the seconds that this rank stood still for gradients so far."""
        return self.run.reducer.waited_s


def settings_of(options: Options, base: Recipe) -> Settings:
    """Return the settings of a run that does what the other contenders do."""
    recipe = replace(
        base,
        precision=options.precision,
        lr=replace(base.lr, warmup_epochs=0.0),
        batch=replace(base.batch, per_worker=options.batch),
        images=replace(base.images, size=options.image_size),
        reduction=replace(base.reduction, **options.buckets()),
    )
    return Settings(
        name="compared",
        recipe=recipe,
        data="synthetic",
        yaml="",
        batch_given=True,
        seed=options.seed,
        channels_last=options.channels_last,
        compile=options.compile,
    )


def losses(run: Training) -> Iterator[float]:
    """Train for ever; yield the mean loss of each update."""
    while True:
        yield from loop.updates(run)
        run.epoch, run.samples_seen = run.epoch + 1, 0
