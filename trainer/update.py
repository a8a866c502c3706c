"""One update of the weights: microbatches, the mean of their gradients, a step.

On a GPU the host queues a whole update before it looks at the loss, which was copied
when the forward pass had ended: it goes on while the backward pass still runs, and so
the device always has work.  The mean loss of an update is known before the next one
begins, on any device: a run that has diverged ends at the same place on all ranks.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from time import perf_counter

import numpy as np
from torch.nn import functional

from trainer.place import Batch
from trainer.training import Training

Reading = Callable[[], float]  # waits for a number that is copied from the device


class Diverged(ArithmeticError):
    """The loss is not a number any more."""


def make(run: Training, microbatches: Iterator[Batch]) -> tuple[float, bool]:
    """Make one update; return the mean loss of all ranks, and whether to stop it all.

    Raises:
        Diverged: on all ranks, when the loss is infinite or not a number.
    """
    trace = run.trace
    begin, waited_before = perf_counter(), run.reducer.waited_s
    scaled = run.precision.scaled
    scale = run.place.fetch(run.precision.current()) if scaled else None
    run.reducer.zero_grad()
    losses = accumulate(run, microbatches)
    computed_s = perf_counter() - begin
    with trace.span("wait for gradients"):
        run.reducer.finish()
    run.stragglers.note(computed_s, run.reducer.waited_s - waited_before)
    with trace.span("optimizer"):
        run.precision.step(run.optimizer)
        if run.ema is not None:
            run.ema.update(run.averages, run.precision.made)
    if scale is not None:
        run.precision.note(scale())
    return mean_loss(run, losses)


def accumulate(run: Training, microbatches: Iterator[Batch]) -> list[Reading]:
    """Add up the gradients of this rank's microbatches; return their losses."""
    readings = []
    for index in range(run.sampler.accumulation):
        with run.trace.span("data"):
            batch = next(microbatches)
        last = index == run.sampler.accumulation - 1
        run.averages.select(index)
        # Kernels of two communicators on one GPU can wait for each other for ever (NCCL
        # user guide, "Using multiple NCCL communicators concurrently").
        apart = run.span is not None and run.place.on_gpu
        with nullcontext() if last and not apart else run.reducer.no_sync():
            readings.append(differentiate(run, batch))
    return readings


def differentiate(run: Training, batch: Batch) -> Reading:
    """Add the gradients of a microbatch; return its part of the loss."""
    images, labels = batch
    # the reducer divides by the ranks, which may have unequal parts of an update
    parts = run.sampler.batch / (run.sampler.per_worker * run.comm.size)
    with run.trace.span("forward"), run.precision.autocast():
        scores = run.model(images)
        smoothing = run.settings.recipe.label_smoothing
        loss = functional.cross_entropy(scores, labels, label_smoothing=smoothing)
        loss = loss / parts
    reading = run.place.fetch(loss)
    with run.trace.span("backward"):
        run.precision.backward(loss)
    return reading


def mean_loss(run: Training, losses: list[Reading]) -> tuple[float, bool]:
    """Return the mean loss, and whether some rank was asked to stop; all ranks alike.

    Raises:
        Diverged: on all ranks, when the loss is infinite or not a number.
    """
    mine = [sum(read() for read in losses), run.interrupt.requested]
    with run.trace.span("mean loss"):
        loss, stop = run.comm.allreduce(np.array(mine, np.float64), op="mean")
    if not np.isfinite(loss):
        raise Diverged(
            f"the loss is {loss} at update {run.step} (epoch {run.epoch}); try a "
            f"lower --optimizer.lr than {run.settings.recipe.optimizer.lr:g}"
        )
    return float(loss), stop > 0
