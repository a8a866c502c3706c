"""From a command line to a training that can start, agreed by all ranks.

Each step is one that some rank may fail at; then all ranks raise InvalidArgument with
the same text, and nothing has begun.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainer import (
    adapter,
    agree,
    bn,
    checkpoint,
    console,
    course,
    dataset,
    groups,
    loader,
    lr,
    memory,
    model,
    optim,
    phases,
    plan,
    precision,
    recipe,
    resizing,
    span,
    spot_check,
    state,
    trace,
    weights,
    wire,
)
from trainer.averages import Averages
from trainer.dataset import Dataset
from trainer.ema import Ema
from trainer.interrupt import Interrupt
from trainer.loop import Training
from trainer.place import Batch, Place
from trainer.precision import Precision
from trainer.record import Recorder
from trainer.reducer import Reducer
from trainer.sampler import Sampler, TestSampler
from trainer.settings import Settings, parse
from trainer.stragglers import Stragglers


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
        count = agree.on_root(comm, lambda: planned(settings, recorder))
        settings = plan.fit(settings, comm.size, count)
        for line in agree.on_root(
            comm, lambda: plan.dry_run(settings, comm.topology, count)
        ):
            recorder.line(line)
        return None
    use_cores(comm)
    memory.keep_freed()
    values, compiled = settings.recipe, settings.compile
    agree.together(
        comm, lambda: precision.check(values.precision, place, compiled=compiled)
    )
    content = first = None
    if settings.resume is not None:
        content = agree.on_root(comm, lambda: resumed(settings))
    if content is None and settings.start_from is not None:
        first, whose = agree.on_root(comm, lambda: weights.find(settings))
    training, test = agree.together(comm, lambda: load(settings))
    if settings.data_errors == "refuse":
        spot_check.look(comm, [training, test], most=settings.check_images)
    settings = plan.fit(settings, comm.size, len(training))
    reduction = settings.recipe.reduction
    agree.together(comm, lambda: plan.check_algorithms(reduction, comm.topology))
    sampler = agree.together(comm, lambda: cut(settings, comm, len(training)))
    for line in plan.headline(settings, comm.topology, len(training)):
        recorder.line(line)
    if place.on_gpu:
        recorder.line(f"rank 0 on {place.describe()}")
    data = sampler, training, test
    run = assemble(comm, settings, place, recorder, interrupt, data)
    if content is not None:
        state.restore(run, content)
        recorder.line(f"resumed at epoch {run.epoch}, update {run.step}")
    elif first is not None:
        weights.give(run, first)
        recorder.line(whose)
    agree.on_root(comm, lambda: open_output(run, resumed=content is not None))
    run.trace = run.reducer.trace = trace.start(comm, settings.trace)
    return run


def planned(settings: Settings, recorder: Recorder) -> int:
    """Return the number of training images of a plan, whose data need not be there."""
    root = settings.data_dir
    if root is not None and not Path(root).is_dir():
        recorder.line(f"no directory {root}: as many images as ImageNet's are assumed")
        root = None
    count: int = dataset.find(settings.data).count(root)
    return count


def resumed(settings: Settings) -> dict[str, Any] | None:
    """Return the checkpoint to go on from, if there is one.

    Raises:
        InvalidArgument: it is missing, damaged, or of another run.
    """
    path = checkpoint.find(settings.output, settings.resume)
    if path is None:
        return None
    content = checkpoint.read(path)
    checkpoint.check(content, state.config(settings))
    return content


def load(settings: Settings) -> tuple[Dataset, Dataset]:
    """Return the training and the test images."""
    module = dataset.find(settings.data)
    about = {"errors": settings.data_errors} if module.NEEDS_ROOT else {}
    training, test = (
        module.load(
            settings.data_dir,
            train=train,
            images=settings.recipe.images,
            classes=settings.recipe.model.classes,
            seed=settings.seed,
            sizes=resizing.sizes(settings.recipe),
            **about,
        )
        for train in (True, False)
    )
    if settings.loader == "dali":
        from trainer import dali

        dali.check(training)
    return training, test


def feed(settings: Settings, place: Place) -> Callable[..., Iterable[Batch]]:
    """Return what makes batches of a data set for a sampler."""
    if settings.loader == "dali":
        from trainer import dali

        return partial(dali.load, threads=max(1, settings.workers), place=place)
    return partial(loader.load, workers=settings.workers, place=place)


def cut(settings: Settings, comm: Any, count: int) -> Sampler:
    """Return this rank's part of epochs of ``count`` images, as the run begins.

    Raises:
        InvalidArgument: an epoch does not fill the batch of a phase, or a batch asks
            for a momentum that cannot be, or the ranks cannot share the groups of
            batch normalisation.
    """
    batch = settings.recipe.batch
    images, times = batch.per_worker, batch.accumulation
    if batch.phases:
        images = times = 1
    sampler = Sampler(
        count,
        rank=comm.rank,
        size=comm.size,
        per_worker=images,
        accumulation=times,
        seed=settings.seed,
    )
    for phase in reversed(phases.of(settings.recipe, comm.size)):
        course.momentum(settings.recipe, phase)
        groups.cut(sampler, phase, settings.recipe.bn)
    return sampler


def assemble(
    comm: Any,
    settings: Settings,
    place: Place,
    recorder: Recorder,
    interrupt: Interrupt,
    data: tuple[Sampler, Dataset, Dataset],
) -> Training:
    """Build model, optimiser, reducer and loaders, alike on all ranks."""
    values, (sampler, training, test) = settings.recipe, data
    torch.manual_seed(settings.seed)  # of GPUs too
    network = agree.together(
        comm, lambda: model.build(values.model, seed=settings.seed)
    )
    bn.configure(network, values.bn)
    for tensor in network.state_dict().values():
        comm.broadcast(tensor, root=0)
    place.hold(network)
    ema = Ema(network, values.ema_decay) if values.ema_decay else None
    if settings.compile:  # each shape by itself: training, evaluation, its last batch
        network.compile(dynamic=False)
        if ema is not None:
            ema.model.compile(dynamic=False)
    reducer = Reducer(network.named_parameters(), comm, **vars(values.reduction))
    test_sampler = TestSampler(
        len(test), rank=comm.rank, size=comm.size, per_worker=values.batch.per_worker
    )
    parts = phases.of(values, comm.size)
    layouts = [groups.of(phase, values.bn, comm.size) for phase in parts]
    batches = feed(settings, place)
    return Training(
        comm=comm,
        settings=settings,
        model=network,
        averages=Averages(network),
        optimizer=optim.build(
            network, values.optimizer, lars=values.lars, rmsprop=values.rmsprop
        ),
        reducer=reducer,
        phases=parts,
        sampler=sampler,
        datasets=(training, test),
        batches=batches(training, sampler),
        test_batches=batches(test, test_sampler),
        place=place,
        precision=Precision(
            values.precision,
            place.device.type,
            fixed=values.loss_scale,
            first_scale=wire.first_scale(
                values.precision, values.reduction.wire, comm.size
            ),
        ),
        recorder=recorder,
        interrupt=interrupt,
        stragglers=Stragglers(comm),
        ema=ema,
        spans=span.split(comm, [layout.ranks for layout in layouts]),
    )


def open_output(run: Training, *, resumed: bool) -> None:
    """Begin what is written: metrics.jsonl and config.yaml, other logs, the trace."""
    settings, values = run.settings, run.settings.recipe
    if settings.trace is not None:
        trace.make_file(settings.trace)
    if not resumed:
        earlier = checkpoint.set_aside(settings.output)
        if earlier is not None:
            run.recorder.line(f"what an earlier run had left is in {earlier}")
    logs = adapter.named(settings.log)
    run.recorder.open(settings.output, resumed=resumed, logs=logs)
    Path(settings.output, "config.yaml").write_text(settings.yaml, encoding="utf-8")
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


def use_cores(comm: Any) -> None:
    """Share the node's cores among its ranks' torch threads, unless the user has."""
    cores = comm.gather_objects(os.sched_getaffinity(0), root=0)
    cores = comm.broadcast_object(cores, root=0)
    if "OMP_NUM_THREADS" in os.environ:
        return
    node = next(node for node in comm.topology.nodes if comm.rank in node)
    torch.set_num_threads(share(cores[comm.rank], node=[cores[rank] for rank in node]))


def share(mine: set[int], *, node: Sequence[set[int]]) -> int:
    """Return how many threads a rank may use that is bound to the cores ``mine``.

    ``node`` are the cores of all ranks of its node, its own among them.  Where the
    launcher gave each its own cores these are all the rank's; else it shares them with
    the ranks that are bound to some of them too.
    """
    return max(1, len(mine) // sum(not mine.isdisjoint(other) for other in node))
