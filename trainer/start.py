"""From a command line to a training that can start, agreed by all ranks.

Each step is one that some rank may fail at; then all ranks raise InvalidArgument with
the same text, and nothing has begun.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer import (
    agree,
    checkpoint,
    console,
    dataset,
    inherit,
    memory,
    output,
    plan,
    precision,
    spot_check,
    state,
    supply,
    trace,
)
from trainer.assemble import assemble
from trainer.cores import use_cores
from trainer.inherit import Inherited
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.record import Recorder
from trainer.settings import Settings, parse
from trainer.training import Training


def agree_on(comm: Any, argv: Sequence[str]) -> Settings:
    """Return the settings of the command line, as rank 0 has read it.

    Raises:
        InvalidArgument: on all ranks, if it has a mistake.
    """
    return agree.on_root(comm, lambda: parse(argv))


def prepare(
    comm: Any, settings: Settings, place: Place, interrupt: Interrupt
) -> Training | None:
    """Return a training that can start, or None after a dry run.

    Raises:
        InvalidArgument: on all ranks, whichever rank found a mistake.
    """
    recorder = Recorder(
        console.make(settings.progress, sys.stdout) if comm.rank == 0 else None
    )
    if settings.dry_run:
        rehearse(comm, settings, recorder)
        return None
    use_cores(comm)
    memory.keep_freed()
    kind, compiled = settings.recipe.precision, settings.compile
    agree.together(comm, lambda: precision.check(kind, place, compiled=compiled))
    content, first = agree.on_root(comm, lambda: earlier(settings))
    training, test = agree.together(comm, lambda: supply.load(settings))
    if settings.data_errors == "refuse":
        spot_check.look(comm, [training, test], most=settings.check_images)
    settings = plan.fit(settings, comm.size, len(training))
    reduction = settings.recipe.reduction
    agree.together(comm, lambda: plan.check_algorithms(reduction, comm.topology))
    sampler = agree.together(comm, lambda: supply.cut(settings, comm, len(training)))
    for line in plan.headline(settings, comm.topology, len(training)):
        recorder.line(line)
    if place.on_gpu:
        recorder.line(f"rank 0 on {place.describe()}")
    data = sampler, training, test
    run = assemble(comm, settings, place, recorder, interrupt, data)
    if content is not None:
        state.restore(run, content)
        recorder.line(f"resumed at epoch {run.epoch}, update {run.step}")
        others = checkpoint.changes(content, state.config(settings), fixed=False)
        if others:
            recorder.line(f"other settings than so far: {'; '.join(others)}")
    elif settings.resume is not None:
        recorder.line(f"no checkpoint in {settings.output} yet: from the beginning")
    if content is None and first is not None:
        recorder.line(inherit.give(run, first))
    agree.on_root(comm, lambda: output.begin(run, resumed=content is not None))
    run.trace = run.reducer.trace = trace.start(comm, settings.trace)
    return run


def earlier(settings: Settings) -> tuple[dict[str, Any] | None, Inherited | None]:
    """Return the checkpoint to go on from, or else what to begin with, if any.

    Raises:
        InvalidArgument: it is missing, damaged, or does not fit the settings.
    """
    content = None if settings.resume is None else state.find(settings)
    if content is not None or settings.start_from is None:
        return content, None
    return None, inherit.find(settings.start_from, settings.recipe.model)


def rehearse(comm: Any, settings: Settings, recorder: Recorder) -> None:
    """Show the plan of a run and nothing else; say where the run would begin.

    Raises:
        InvalidArgument: on all ranks, if the plan has a mistake.
    """
    content, first = agree.on_root(comm, lambda: earlier(settings))
    count = agree.on_root(comm, lambda: planned(settings, recorder))
    settings = plan.fit(settings, comm.size, count)
    lines = agree.on_root(comm, lambda: plan.dry_run(settings, comm.topology, count))
    for line in [*lines, *begins(content, first)]:
        recorder.line(line)


def begins(content: dict[str, Any] | None, first: Inherited | None) -> list[str]:
    """Say where a run would begin, if not at its beginning."""
    if content is not None:
        position = content["position"]
        return [f"resumes at epoch {position['epoch']}, update {position['step']}"]
    return [f"begins with the {first.source}"] if first is not None else []


def planned(settings: Settings, recorder: Recorder) -> int:
    """Return the number of training images of a plan, whose data need not be there."""
    root = settings.data_dir
    if root is not None and not Path(root).is_dir():
        recorder.line(f"no directory {root}: as many images as ImageNet's are assumed")
        root = None
    count: int = dataset.find(settings.data).count(root)
    return count
