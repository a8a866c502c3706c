"""Output: begin what a run writes, after what an earlier one had left is put aside."""

from pathlib import Path

from collectives import InvalidArgument
from trainer import adapter, checkpoint, lr, recipe, trace
from trainer.training import Training


def begin(run: Training, *, resumed: bool) -> None:
    """Begin metrics.jsonl, config.yaml, other programs' logs and the trace, on rank 0.

    A run that is ``resumed`` from this output goes on with them.

    Raises:
        InvalidArgument: output or trace cannot be written, or a log not be started.
    """
    settings = run.settings
    if settings.trace is not None:
        trace.make_file(settings.trace)
    try:
        earlier = None if resumed else checkpoint.set_aside(settings.output)
        logs = adapter.named(settings.log)
        run.recorder.open(settings.output, resumed=resumed, logs=logs)
        Path(settings.output, "config.yaml").write_text(settings.yaml, encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"--output: cannot write there: {error}") from error
    if earlier is not None:
        run.recorder.line(f"what an earlier run had left is in {earlier}")
    tell(run, resumed=resumed)


def tell(run: Training, *, resumed: bool) -> None:
    """Tell what the run is, and where it begins: the event ``config``."""
    settings, values = run.settings, run.settings.recipe
    run.recorder.event(
        "config",
        recipe=settings.name,
        data=settings.data,
        ranks=run.comm.size,
        seed=settings.seed,
        settings=dict(recipe.flatten(values)),
        sources=dict(values.sources),
        batch=run.phase.batch,
        per_worker=run.phase.per_worker,
        accumulation=run.sampler.accumulation,
        peak_lr=lr.peak(values, batch=run.phases[0].batch),
        train_images=run.sampler.count,
        test_images=len(run.datasets[1]),
        resumed=resumed,
        **run.where,
        max_steps=settings.max_steps,
    )
