"""What a run will do, as lines of text: for its first lines and for ``--dry-run``.

`fit` settles the batch, which the number of ranks and images decide together.
"""

import json
from dataclasses import replace
from itertools import groupby
from typing import Any

import yaml

from collectives import Chunk, InvalidArgument, Topology, algorithms
from trainer import course, forecast, fusion, groups, layers, lr, phases, recipe, wire
from trainer.fields import Reduction
from trainer.phases import Phase
from trainer.recipe import Recipe
from trainer.settings import Settings

MIB = 1 << 20


def fit(settings: Settings, size: int, training: int) -> Settings:
    """Lower the batch until ``size`` ranks find one in an epoch of ``training`` images.

    So any number of ranks can train on a small data set.  What a flag or a file gave
    is left as it is, and so is what no epoch can fill: the sampler refuses them.
    Virtual workers make the batch in place of the ranks.

    Raises:
        InvalidArgument: an epoch does not fill the batch of the virtual workers, or a
            microbatch has no variance.
    """
    fitted = _fitted(settings, size, training)
    groups.check_variance(fitted.recipe, size)
    return fitted


def _fitted(settings: Settings, size: int, training: int) -> Settings:
    batch = settings.recipe.batch
    if settings.virtual_workers is not None:
        return _for_workers(settings, settings.virtual_workers, training)
    if settings.batch_given:
        return settings
    if batch.phases:
        return _fit_phases(settings, size, training)
    most = training // (size * batch.accumulation)
    if not 1 <= most < batch.per_worker:
        return settings
    return _with(settings, chosen={"batch.per_worker": most})


def _fit_phases(settings: Settings, size: int, training: int) -> Settings:
    """Shrink the phases of a recipe, and the noise scale's batch as the first one."""
    values = settings.recipe
    published = phases.of(values, size)
    if training < size or max(phase.batch for phase in published) <= training:
        return settings
    fitted = phases.scale(
        published, training=training, size=size, group=values.bn.group
    )
    return _with(settings, **_in_phases(values, published, fitted, by="chosen"))


def _for_workers(settings: Settings, workers: int, training: int) -> Settings:
    """Give the first update the microbatches of ``workers`` ranks, by phases.

    So the ranks share them, whatever their number.
    """
    values = settings.recipe
    before = phases.of(values, workers)
    parts = phases.for_workers(before, workers * values.batch.accumulation)
    if not settings.batch_given:
        parts = phases.lower(parts, training=training)
    largest = max(parts, key=lambda phase: phase.batch)
    needed = max(largest.batch, workers * values.batch.accumulation)
    if needed > training:
        raise InvalidArgument(
            f"--virtual-workers {workers}: an update would see {needed} images, in "
            f"microbatches of {largest.per_worker}, but an epoch has {training}; use "
            f"fewer workers, or a smaller --batch.per_worker or --batch.phases"
        )
    if parts == before and values.batch.phases:
        return settings
    return _with(settings, **_in_phases(values, before, parts, by="given"))


def _in_phases(
    values: Recipe, before: list[Phase], after: list[Phase], *, by: str
) -> dict[str, dict[str, Any]]:
    """Return the fields of phases, by their provenance.

    The noise scale's batch changes exactly as the first one, whose momentum so stays
    what it was; it need not be whole.
    """
    fields: dict[str, dict[str, Any]] = {by: {"batch.phases": tuple(map(tuple, after))}}
    if values.batch.phases and values.noise_scale.reading != "none":
        reference = values.noise_scale.reference_batch * after[0].batch
        scaled = reference / before[0].batch
        fields["derived"] = {"noise_scale.reference_batch": scaled}
    return fields


def check_algorithms(reduction: Reduction, topology: Topology) -> None:
    """Refuse an algorithm that does not run on these ranks.

    Raises:
        UnsupportedTopology: with the algorithm's own reason.
    """
    for name in {reduction.algorithm, reduction.small_algorithm} - {"auto"}:
        steps = algorithms.load(name).schedule(topology, 0, Chunk(0, topology.size))
        next(iter(steps), None)  # the check comes before the first step


def _with(settings: Settings, **changes: dict[str, Any]) -> Settings:
    """Return settings with other values, by their provenance, and stored as well."""
    content = yaml.safe_load(settings.yaml)
    for fields in changes.values():
        for path, value in fields.items():
            group, leaf = path.split(".")
            content[group][leaf] = json.loads(json.dumps(value))  # YAML knows no tuples
    return replace(
        settings,
        recipe=recipe.vary(settings.recipe, **changes),
        yaml=yaml.safe_dump(content, sort_keys=False),
    )


def headline(settings: Settings, topology: Any, training: int) -> list[str]:
    """Return the first lines of a run: recipe, data, ranks, grid, batch, rate."""
    values, data = settings.recipe, settings.data
    first = phases.of(values, topology.size)[0]
    workers = settings.virtual_workers
    virtual = "" if workers is None else f"{workers:,} virtual workers, "
    return [
        f"recipe {settings.name}, data {data} ({training:,} training images), "
        f"output {settings.output}",
        f"ranks {topology.size} on {len(topology.nodes)} node(s), {grid(topology)}, "
        f"{virtual}allreduce {_allreduce(values.reduction)}, "
        + wire.describe(values.precision, values.reduction.wire, topology.size),
        f"batch {_shared(values, first, topology.size)} = {first.batch}, "
        f"{values.epochs} epochs of {training // first.batch} updates, "
        f"lr {_scaled(values, first.batch)}",
        f"device {settings.device}, precision {values.precision}"
        + ", channels_last" * settings.channels_last
        + ", compiled" * settings.compile,
        "not the paper's: " + (", ".join(_changes(settings)) or "nothing"),
    ]


def _allreduce(reduction: Reduction) -> str:
    """Name the algorithm, or both and where one takes over."""
    if not reduction.switch_bytes:
        return reduction.algorithm
    small, large = reduction.small_algorithm, reduction.algorithm
    return f"{small} below {reduction.switch_bytes} bytes, then {large}"


def _shared(values: Recipe, phase: Phase, size: int) -> str:
    """Say who has how many images of an update."""
    if values.batch.phases:
        share = groups.text(phase, values.bn, size)
        return f"{phase.workers} workers * {phase.per_worker} images ({share})"
    batch = values.batch
    whole = f"{size} ranks * {batch.per_worker} images * {batch.accumulation}"
    if values.bn.group == 1:
        return whole
    return f"{whole} ({groups.text(phase, values.bn, size)})"


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
    check_algorithms(values.reduction, topology)
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
    reduction = settings.recipe.reduction
    counts = layers.arrivals(settings.recipe.model)
    cuts = forecast.cuts(counts, reduction)
    lines = [
        f"model: {sum(counts):,} parameters, {len(counts)} tensors, {len(cuts)} "
        "buckets",
        f"{'bucket':<8}{'tensors':>8}{'parameters':>14}{'MiB':>9}  algorithm",
    ]
    for index, cut in enumerate(cuts):
        count = sum(counts[i] for i in cut)
        nbytes = forecast.ITEMSIZE["float32"] * count
        lines.append(
            f"{index:<8}{len(cut):>8}{count:>14,}{nbytes / MIB:>9.2f}  "
            f"{fusion.algorithm(reduction, nbytes)}"
        )
    return lines


def _changes(settings: Settings) -> list[str]:
    original = dict(recipe.flatten(recipe.load(settings.name)))
    return [
        f"{path}={recipe.show(value)} ({settings.recipe.sources[path]})"
        for path, value in recipe.flatten(settings.recipe)
        if value != original[path]
    ]
