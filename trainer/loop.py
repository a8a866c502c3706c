"""Train: the walk over epochs and updates, which all ranks make in step.

Ranks communicate at fixed places: the gradients of each update (`trainer.reducer`), one
small sum per update (loss, and whether some rank was asked to stop), running averages
and counts at each evaluation, running averages at each checkpoint.
"""

from collections.abc import Iterator
from time import perf_counter

from trainer import pace, state, update
from trainer.evaluate import evaluate
from trainer.training import Training


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
                evaluate(run)
            return not run.interrupted
        run.epoch, run.samples_seen = run.epoch + 1, 0
        evaluate(run)
        run.top1[run.epoch] = run.result["top1"]
        if run.epoch % settings.checkpoint_every == 0 or run.epoch == epochs:
            _save(run)
    if not run.result:
        pace.set_phase(run)
        evaluate(run)
    return True


def _train_epoch(run: Training) -> bool:
    """Make the updates left in this epoch; return whether it was finished."""
    finished = True
    for _ in updates(run):
        if run.interrupted or run.updates == run.settings.max_steps:
            finished = False
            break
    begin = perf_counter()
    run.place.finish()
    run.seconds += perf_counter() - begin
    return finished


def updates(run: Training) -> Iterator[float]:
    """Make the updates left in this epoch; yield the mean loss of each one.

    A device may still work on the last one.
    """
    run.model.train()
    batch = run.phase.batch
    pace.set_phase(run)
    run.averages.begin(run.sampler.accumulation)
    if run.ema is not None:
        run.ema.averages.begin(run.sampler.accumulation)
    run.sampler.start(epoch=run.epoch, samples_seen=run.samples_seen)
    microbatches = iter(run.batches)
    losses, since, images_before = [], run.seconds, run.images
    while run.samples_seen + batch <= run.sampler.count:
        begin = perf_counter()
        rate = pace.set_rate(run)
        with run.trace.span("update", update=run.step):
            loss, run.interrupted = update.make(run, microbatches)
        run.seconds += perf_counter() - begin
        run.samples_seen += batch
        run.updates += 1
        run.images += batch
        run.step += 1
        losses.append(loss)
        if run.step % run.settings.log_every == 0:
            speed = (run.images - images_before) / (run.seconds - since)
            _log_step(run, sum(losses) / len(losses), rate, speed)
            losses, since, images_before = [], run.seconds, run.images
        yield loss


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
