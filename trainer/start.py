"""From a command line to a training that can start, agreed by all ranks.

Each step is one that some rank may fail at; then all ranks raise InvalidArgument with
the same text, and nothing has begun.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
    before = agree.on_root(comm, lambda: earlier(settings))
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
    if before.content is not None:
        state.restore(run, before.content)
    elif before.weights is not None:
        inherit.give(run, before.weights)
    for line in begins(settings, before, comm.size):
        recorder.line(line)
    agree.on_root(comm, lambda: output.begin(run, resumed=before.here))
    run.trace = run.reducer.trace = trace.start(comm, settings.trace)
    return run


class Earlier(NamedTuple):
    """What a run begins with, of an earlier one."""

    content: dict[str, Any] | None = None  # of a checkpoint to go on from
    here: bool = False  # which lies in the output
    weights: Inherited | None = None  # or these, in a fresh run


def earlier(settings: Settings) -> Earlier:
    """Return the checkpoint to go on from, or else what to begin with, if any.

    Raises:
        InvalidArgument: it is missing, damaged, or does not fit the settings.
    """
    if settings.resume is not None:
        path = checkpoint.find(settings.output, settings.resume)
        if path is not None:
            here = path.resolve().parent == Path(settings.output).resolve()
            return Earlier(state.read(path, settings), here)
    if settings.start_from is None:
        return Earlier()
    model = settings.recipe.model
    return Earlier(weights=inherit.find(settings.start_from, model))


def begins(settings: Settings, before: Earlier, size: int) -> list[str]:
    """Say where a run begins, and what then differs from before."""
    if before.content is not None:
        position = before.content["position"]
        lines = [f"resumed at epoch {position['epoch']}, update {position['step']}"]
        ours = state.config(settings)
        others = checkpoint.changes(before.content, ours, fixed=False)
        if before.content["ranks"] != size:
            others.insert(0, f"{before.content['ranks']} ranks there, {size} here")
        if others:
            lines.append(f"other settings than so far: {'; '.join(others)}")
        if position["epoch"] >= settings.recipe.epochs:
            lines.append(f"nothing is left of {settings.recipe.epochs} epochs")
        return lines
    lines = []
    if settings.resume is not None:
        lines = [f"no checkpoint in {settings.output} yet: from the beginning"]
    needed = settings.recipe.published.begins
    if before.weights is not None:
        lines.append(f"begins with the {before.weights.source}")
    elif needed:
        lines.append(
            f"begins with random weights, not with those {needed}: --start-from"
        )
    return lines


def rehearse(comm: Any, settings: Settings, recorder: Recorder) -> None:
    """Show the plan of a run and nothing else; say where the run would begin.

    Raises:
        InvalidArgument: on all ranks, if the plan has a mistake.
    """
    before = agree.on_root(comm, lambda: earlier(settings))
    count = agree.on_root(comm, lambda: planned(settings, recorder))
    settings = plan.fit(settings, comm.size, count)
    lines = agree.on_root(comm, lambda: plan.dry_run(settings, comm.topology, count))
    for line in [*lines, *begins(settings, before, comm.size)]:
        recorder.line(line)


def planned(settings: Settings, recorder: Recorder) -> int:
    """Return the number of training images of a plan, whose data need not be there."""
    root = settings.data_dir
    if root is not None and not Path(root).is_dir():
        recorder.line(f"no directory {root}: as many images as ImageNet's are assumed")
        root = None
    count: int = dataset.find(settings.data).count(root)
    return count
