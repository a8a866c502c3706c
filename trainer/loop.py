"""Train and evaluate: the loop, which all ranks walk in step.

Ranks communicate at fixed places: the gradients of each update (`trainer.reducer`), one
small sum per update (loss, and whether some rank was asked to stop), running averages
and counts at each evaluation, running averages at each checkpoint.

On a GPU the host queues a whole update before it looks at the loss, which was copied
when the forward pass had ended: it goes on while the backward pass still runs, and so
the device always has work.  The mean loss of an update is known before the next one
begins, on any device: a run that has diverged ends at the same place on all ranks.
"""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainer import (
    bn,
    course,
    evaluate,
    groups,
    lr,
    optim,
    phases,
    recompute,
    span,
    state,
)
from trainer.averages import Averages
from trainer.dataset import Dataset, skipped
from trainer.ema import Ema
from trainer.interrupt import Interrupt
from trainer.phases import Phase
from trainer.place import Batch, Place
from trainer.precision import Precision
from trainer.record import Recorder
from trainer.reducer import Reducer
from trainer.sampler import Sampler
from trainer.settings import Settings
from trainer.stragglers import Stragglers
from trainer.trace import OFF, Off, Trace


class Diverged(ArithmeticError):
    """The loss is not a number any more."""


@dataclass
class Training:
    """All parts of a run, and where it is."""

    comm: Any
    settings: Settings
    model: nn.Module
    averages: Averages
    optimizer: torch.optim.Optimizer
    reducer: Reducer
    phases: list[Phase]
    sampler: Sampler
    datasets: tuple[Dataset, Dataset]  # to train on, and to test on
    batches: Iterable[Batch]
    test_batches: Iterable[Batch]
    place: Place
    precision: Precision
    recorder: Recorder
    interrupt: Interrupt
    stragglers: Stragglers
    trace: Trace | Off = OFF
    ema: Ema | None = None
    spans: dict[int, Any] = field(default_factory=dict)  # by size: `trainer.span`
    span: Any = None  # ranks that normalise together now; None: each alone
    epoch: int = 0
    samples_seen: int = 0  # of this epoch, by all ranks
    step: int = 0  # updates since the first epoch
    updates: int = 0  # made by this process and its peers
    images: int = 0  # in these
    seconds: float = 0.0  # spent in updates
    interrupted: bool = False  # a signal reached some rank
    result: dict[str, float] = field(default_factory=dict)  # of the last evaluation

    @property
    def epochs_done(self) -> float:
        """Epochs since the first, with the part of this one."""
        return self.epoch + self.samples_seen / self.sampler.usable

    @property
    def where(self) -> dict[str, float]:
        """The place in the run, as every event tells it."""
        done = self.epochs_done
        return {"epoch": self.epoch, "epochs_done": done, "step": self.step}

    @property
    def phase(self) -> Phase:
        """The phase that this epoch is in."""
        values = self.settings.recipe
        at = lr.span_epoch(values, epoch=self.epoch, epochs=values.epochs)
        return phases.at(self.phases, at)


def train(run: Training) -> bool:
    """Train to the end of the run; return False where a signal stopped it before.

    Every epoch ends with an evaluation.  A stopped run, by a signal or ``max_steps``,
    leaves a checkpoint from which it can go on as if nothing had happened.
    """
    settings = run.settings
    epochs = settings.recipe.epochs
    while run.epoch < epochs:
        if not _train_epoch(run):
            _save(run)
            if not run.interrupted:
                _evaluate(run)
            return not run.interrupted
        run.epoch, run.samples_seen = run.epoch + 1, 0
        _evaluate(run)
        if run.epoch % settings.checkpoint_every == 0 or run.epoch == epochs:
            _save(run)
    if not run.result:
        _set_phase(run, run.phase)
        _evaluate(run)
    return True


def _train_epoch(run: Training) -> bool:
    """Make the updates left in this epoch; return whether it was finished."""
    settings = run.settings
    run.model.train()
    phase, batch = run.phase, run.phase.batch
    _set_phase(run, phase)
    run.averages.begin(run.sampler.accumulation)
    if run.ema is not None:
        run.ema.averages.begin(run.sampler.accumulation)
    run.sampler.start(epoch=run.epoch, samples_seen=run.samples_seen)
    microbatches = iter(run.batches)
    losses, since, images_before = [], run.seconds, run.images
    finished = True
    while run.samples_seen + batch <= run.sampler.count:
        begin = perf_counter()
        rate = _set_rate(run)
        with run.trace.span("update", update=run.step):
            loss, run.interrupted = _update(run, microbatches)
        run.seconds += perf_counter() - begin
        run.samples_seen += batch
        run.updates += 1
        run.images += batch
        run.step += 1
        losses.append(loss)
        if run.step % settings.log_every == 0:
            speed = (run.images - images_before) / (run.seconds - since)
            _log_step(run, sum(losses) / len(losses), rate, speed)
            losses, since, images_before = [], run.seconds, run.images
        if run.interrupted or run.updates == settings.max_steps:
            finished = False
            break
    begin = perf_counter()
    run.place.finish()
    run.seconds += perf_counter() - begin
    return finished


def _set_phase(run: Training, phase: Phase) -> None:
    """Set batch, groups and momentum of an epoch; tell of another batch."""
    values, sampler = run.settings.recipe, run.sampler
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


def _set_rate(run: Training) -> float:
    """Set what the next update needs to know of the position; return the rate."""
    values = run.settings.recipe
    at = lr.span_epoch(values, epoch=run.epochs_done, epochs=values.epochs)
    rate = lr.rate(values, batch=run.phases[0].batch, epoch=at)
    optim.advance(run.optimizer, lr=rate, epoch=at)
    if values.optimizer.form == "corrected_in_warmup":
        optim.advance(run.optimizer, corrected=at < values.lr.warmup_epochs)
    return rate


def _update(run: Training, microbatches: Iterator[Batch]) -> tuple[float, bool]:
    """Make one update; return the mean loss of all ranks, and whether to stop it all.

    Raises:
        Diverged: on all ranks, when the loss is infinite or not a number.
    """
    sampler, trace = run.sampler, run.trace
    # the reducer divides by the ranks, which may have unequal parts of an update
    parts = sampler.batch / (sampler.per_worker * run.comm.size)
    begin, waited_before = perf_counter(), run.reducer.waited_s
    readings, scaled = [], run.precision.scaled
    scale = run.place.fetch(run.precision.current()) if scaled else None
    run.reducer.zero_grad()
    for index in range(sampler.accumulation):
        with trace.span("data"):
            images, labels = next(microbatches)
        last = index == sampler.accumulation - 1
        run.averages.select(index)
        # Kernels of two communicators on one GPU can wait for each other for ever (NCCL
        # user guide, "Using multiple NCCL communicators concurrently").
        apart = run.span is not None and run.place.on_gpu
        with nullcontext() if last and not apart else run.reducer.no_sync():
            with trace.span("forward"), run.precision.autocast():
                scores = run.model(images)
                loss = functional.cross_entropy(
                    scores,
                    labels,
                    label_smoothing=run.settings.recipe.label_smoothing,
                )
                loss = loss / parts
            readings.append(run.place.fetch(loss))
            with trace.span("backward"):
                run.precision.backward(loss)
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
    mine = [sum(read() for read in readings), run.interrupt.requested]
    with trace.span("mean loss"):
        mean_loss, stop = run.comm.allreduce(np.array(mine, np.float64), op="mean")
    if not np.isfinite(mean_loss):
        raise Diverged(
            f"the loss is {mean_loss} at update {run.step} (epoch {run.epoch}); try a "
            f"lower --optimizer.lr than {run.settings.recipe.optimizer.lr:g}"
        )
    return float(mean_loss), stop > 0


def _log_step(run: Training, loss: float, rate: float, speed: float) -> None:
    """Tell of an interval; all ranks compare their times."""
    times = run.stragglers.compare()
    run.recorder.event(
        "step",
        **run.where,
        samples_seen=run.samples_seen,
        loss=loss,
        lr=rate,
        images_per_s=speed,
        allreduce_s=run.reducer.allreduce_s,
        waited_s=run.reducer.waited_s,
        **times,
        **run.precision.told(),
    )


def _save(run: Training) -> None:
    with run.trace.span("checkpoint"):
        state.save(run)


def _evaluate(run: Training) -> None:
    """Evaluate, and tell the result."""
    begin = perf_counter()
    with run.trace.span("evaluation"):
        result = _measure(run)
    run.result = {"top1": result.top1, "loss": result.loss}
    run.recorder.event(
        "eval",
        **run.where,
        correct=result.correct,
        count=result.count,
        seconds=perf_counter() - begin,
        **run.result,
        **_unreadable(run),
    )


def _measure(run: Training) -> evaluate.Result:
    """Evaluate the network, or what the averages of its weights make of it."""
    bn.synchronise(run.averages, run.comm)
    model = run.model
    if run.ema is not None:
        bn.synchronise(run.ema.averages, run.comm)
        model = run.ema.model
    recomputed = run.settings.recipe.bn.evaluate == "recompute"
    with recompute.statistics(run, model) if recomputed else nullcontext():
        return evaluate.measure(
            model,
            run.test_batches,
            run.comm,
            run.precision.autocast,
            flip=run.settings.recipe.images.test_flip,
        )


def _unreadable(run: Training) -> dict[str, int]:
    """Count the images that any rank has met and skipped; all ranks together."""
    if run.settings.data_errors == "refuse":
        return {}
    return {"unreadable": sum(len(skipped(part, run.comm)) for part in run.datasets)}
