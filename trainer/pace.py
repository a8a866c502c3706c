"""Pace: batch, groups, momentum and rate, which follow from where a run is.

An epoch has one batch, and one momentum; the rate is of each update.
"""

from trainer import course, groups, lr, optim, span
from trainer.training import Training


def set_phase(run: Training) -> None:
    """Set batch, groups and momentum of the epoch; tell of another batch."""
    values, sampler, phase = run.settings.recipe, run.sampler, run.phase
    before = sampler.batch, sampler.per_worker
    momentum = course.momentum(values, phase)
    run.span = run.spans.get(groups.cut(sampler, phase, values.bn).ranks)
    span.use(run.model, run.span)
    optim.advance(run.optimizer, momentum=momentum)
    if before != (sampler.batch, sampler.per_worker):
        run.recorder.event(
            "phase",
            **run.where,
            batch=phase.batch,
            per_worker=phase.per_worker,
            momentum=momentum,
        )


def set_rate(run: Training) -> float:
    """Set what the next update needs to know of the position; return the rate."""
    values = run.settings.recipe
    at = lr.span_epoch(values, epoch=run.epochs_done, epochs=values.epochs)
    rate = lr.rate(values, batch=run.phases[0].batch, epoch=at)
    optim.advance(run.optimizer, lr=rate, epoch=at)
    if values.optimizer.form == "corrected_in_warmup":
        optim.advance(run.optimizer, corrected=at < values.lr.warmup_epochs)
    return rate
