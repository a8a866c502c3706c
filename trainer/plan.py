"""What a run will do, as lines of text: for its first lines and for ``--dry-run``.

`fit` settles the batch, which the number of ranks and images decide together.
"""

from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
import yaml

from trainer import buckets, lr, model, recipe
from trainer.settings import Settings

MIB = 1 << 20


def fit(settings: Settings, size: int, training: int) -> Settings:
    """Lower the images per rank until ``size`` ranks find a batch in an epoch.

    So any number of ranks can train on a small data set.  What a flag or a file gave
    is left as it is, and so is what no epoch can fill: the sampler refuses them.
    """
    batch = settings.recipe.batch
    most = training // (size * batch.accumulation)
    if settings.batch_given or not 1 <= most < batch.per_worker:
        return settings
    content = yaml.safe_load(settings.yaml)
    content["batch"]["per_worker"] = most
    return replace(
        settings,
        recipe=recipe.vary(settings.recipe, chosen={"batch.per_worker": most}),
        yaml=yaml.safe_dump(content, sort_keys=False),
    )


def headline(settings: Settings, topology: Any, training: int) -> list[str]:
    """Return the first lines of a run: recipe, data, ranks, grid, batch, rate."""
    values, data = settings.recipe, settings.data
    batch = total_batch(settings, topology.size)
    updates = training // batch
    peak = lr.scaled(
        values.optimizer.lr, batch=batch, reference_batch=values.lr.reference_batch
    )
    return [
        f"recipe {settings.name}, data {data} ({training:,} training images), "
        f"output {settings.output}",
        f"ranks {topology.size} on {len(topology.nodes)} node(s), {grid(topology)}, "
        f"allreduce {settings.algorithm}, wire {settings.wire or 'as it is'}",
        f"batch {topology.size} ranks * {values.batch.per_worker} images * "
        f"{values.batch.accumulation} = {batch}, {values.epochs} epochs of {updates} "
        f"updates, lr {values.optimizer.lr:g} * {batch} / "
        f"{values.lr.reference_batch} = {peak:g}",
        f"device {settings.device}, precision {values.precision}"
        + ", channels_last" * settings.channels_last
        + ", compiled" * settings.compile,
        "not the paper's: " + (", ".join(_changes(settings)) or "nothing"),
    ]


def dry_run(settings: Settings, topology: Any, training: int) -> list[str]:
    """Return the whole plan: values and their sources, buckets, learning rates.

    ``training`` is the number of training images by the data set's own account: no
    data is read.
    """
    return [
        *headline(settings, topology, training),
        "",
        f"{'setting':<24}{'value':<20}source",
        *(
            f"{path:<24}{_show(value):<20}{settings.recipe.sources[path]}"
            for path, value in recipe.flatten(settings.recipe)
        ),
        "",
        *bucket_table(settings),
        "",
        *rate_table(settings, topology.size, training),
    ]


def total_batch(settings: Settings, size: int) -> int:
    """Return the images of one update by ``size`` ranks."""
    batch = settings.recipe.batch
    return size * batch.per_worker * batch.accumulation


def grid(topology: Any) -> str:
    """Name the grid: X ranks a row, Y rows; rows may have unequal lengths."""
    runs = [(x, len(list(rows))) for x, rows in groupby(map(len, topology.rows))]
    return "grid " + " + ".join(f"{x} x {y}" for x, y in runs)


def bucket_table(settings: Settings) -> list[str]:
    """Return the gradient buckets of the first update, in order of launch."""
    with torch.device("meta"):
        network = model.ResNet(settings.recipe.model)
    parameters = list(network.parameters())[::-1]
    sizes = [(buckets.nbytes(p), p.dtype) for p in parameters]
    cuts = buckets.layout(
        sizes, first_nbytes=settings.first_bucket_bytes, nbytes=settings.bucket_bytes
    )
    total = sum(p.numel() for p in parameters)
    lines = [
        f"model: {total:,} parameters, {len(parameters)} tensors, {len(cuts)} buckets",
        f"{'bucket':<8}{'tensors':>8}{'parameters':>14}{'MiB':>9}",
    ]
    for index, cut in enumerate(cuts):
        count = sum(parameters[i].numel() for i in cut)
        mib = sum(sizes[i][0] for i in cut) / MIB
        lines.append(f"{index:<8}{len(cut):>8}{count:>14,}{mib:>9.2f}")
    return lines


def rate_table(settings: Settings, size: int, training: int) -> list[str]:
    """Return the learning rate at the start of each epoch, and around its corners."""
    values = settings.recipe
    batch = total_batch(settings, size)
    lines = [f"{'epoch':<8}{'update':>10}{'of the span':>13}{'lr':>14}"]
    for epoch in range(values.epochs):
        at = lr.span_epoch(values, epoch=epoch, epochs=values.epochs)
        rate = lr.rate(values, batch=batch, epoch=at)
        update = epoch * (training // batch)
        lines.append(f"{epoch:<8}{update:>10}{at:>13.2f}{rate:>14.6g}")
    return lines


def _changes(settings: Settings) -> list[str]:
    original = dict(recipe.flatten(recipe.load(settings.name)))
    return [
        f"{path}={_show(value)} ({settings.recipe.sources[path]})"
        for path, value in recipe.flatten(settings.recipe)
        if value != original[path]
    ]


def _show(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
