"""What a run will do, as lines of text: for its first lines and for ``--dry-run``.

`fit` settles the batch, which the number of ranks and images decide together.
"""

import json
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
import yaml

from trainer import buckets, course, groups, lr, model, phases, recipe
from trainer.phases import Phase
from trainer.recipe import Recipe
from trainer.settings import Settings

MIB = 1 << 20


def fit(settings: Settings, size: int, training: int) -> Settings:
    """Lower the batch until ``size`` ranks find one in an epoch of ``training`` images.

    So any number of ranks can train on a small data set.  What a flag or a file gave
    is left as it is, and so is what no epoch can fill: the sampler refuses them.
    """
    batch = settings.recipe.batch
    if settings.batch_given:
        return settings
    if batch.phases:
        return _fit_phases(settings, size, training)
    most = training // (size * batch.accumulation)
    if not 1 <= most < batch.per_worker:
        return settings
    return _with(settings, {"batch.per_worker": most})


def _fit_phases(settings: Settings, size: int, training: int) -> Settings:
    """Shrink the phases of a recipe, and the noise scale's batch as the first one."""
    values = settings.recipe
    published = phases.of(values, size)
    if training < size or max(phase.batch for phase in published) <= training:
        return settings
    fitted = phases.scale(
        published, training=training, size=size, group=settings.recipe.bn.group
    )
    chosen: dict[str, Any] = {"batch.phases": tuple(map(tuple, fitted))}
    if values.noise_scale.reading != "none":
        reference = values.noise_scale.reference_batch * fitted[0].batch
        scaled = max(1, reference // published[0].batch)
        chosen["noise_scale.reference_batch"] = scaled
    return _with(settings, chosen)


def _with(settings: Settings, chosen: dict[str, Any]) -> Settings:
    """Return settings with values that the program has chosen, stored as well."""
    content = yaml.safe_load(settings.yaml)
    for path, value in chosen.items():
        group, leaf = path.split(".")
        content[group][leaf] = json.loads(json.dumps(value))  # YAML knows no tuples
    return replace(
        settings,
        recipe=recipe.vary(settings.recipe, chosen=chosen),
        yaml=yaml.safe_dump(content, sort_keys=False),
    )


def headline(settings: Settings, topology: Any, training: int) -> list[str]:
    """Return the first lines of a run: recipe, data, ranks, grid, batch, rate."""
    values, data = settings.recipe, settings.data
    first = phases.of(values, topology.size)[0]
    return [
        f"recipe {settings.name}, data {data} ({training:,} training images), "
        f"output {settings.output}",
        f"ranks {topology.size} on {len(topology.nodes)} node(s), {grid(topology)}, "
        f"allreduce {settings.algorithm}, wire {settings.wire or 'as it is'}",
        f"batch {_shared(values, first, topology.size)} = {first.batch}, "
        f"{values.epochs} epochs of {training // first.batch} updates, "
        f"lr {_scaled(values, first.batch)}",
        f"device {settings.device}, precision {values.precision}"
        + ", channels_last" * settings.channels_last
        + ", compiled" * settings.compile,
        "not the paper's: " + (", ".join(_changes(settings)) or "nothing"),
    ]


def _shared(values: Recipe, phase: Phase, size: int) -> str:
    """Say who has how many images of an update."""
    if values.batch.phases:
        share = groups.text(phase, values.bn, size)
        return f"{phase.workers} workers * {phase.per_worker} images ({share})"
    batch = values.batch
    return f"{size} ranks * {batch.per_worker} images * {batch.accumulation}"


def _scaled(values: Recipe, batch: int) -> str:
    """Show the scaling rule at work."""
    peak = lr.peak(values, batch=batch)
    ratio = f"{batch} / {values.lr.reference_batch}"
    factor = {"linear": f" * {ratio}", "sqrt": f" * sqrt({ratio})", "none": ""}
    return f"{values.optimizer.lr:g}{factor[values.lr.scaling]} = {peak:g}"


def dry_run(settings: Settings, topology: Any, training: int) -> list[str]:
    """Return the whole plan: values and sources, buckets, phases, rates, forecast.

    ``training`` is the number of training images by the data set's own account: no
    data is read.
    """
    values, size = settings.recipe, topology.size
    return [
        *headline(settings, topology, training),
        "",
        *course.values_table(values),
        "",
        *bucket_table(settings),
        "",
        *course.tables(values, size, training),
    ]


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


def _changes(settings: Settings) -> list[str]:
    original = dict(recipe.flatten(recipe.load(settings.name)))
    return [
        f"{path}={recipe.show(value)} ({settings.recipe.sources[path]})"
        for path, value in recipe.flatten(settings.recipe)
        if value != original[path]
    ]
