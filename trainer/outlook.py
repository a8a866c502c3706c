"""What the source published, and the forecast of its run, as lines of text."""

from collectives import Topology, UnsupportedTopology
from trainer import forecast, layers, phases
from trainer.fields import Model
from trainer.forecast import Call, Gradients
from trainer.published import Cluster, Published
from trainer.recipe import IMAGENET, Recipe

DEFAULT = "ring"  # the pattern shown for "auto" on a machine that is not known
PIXELS, PARAMETERS = 224, layers.parameters(Model()).total  # of all published runs


def published_lines(values: Recipe) -> list[str]:
    """Return what the source published, with its footnotes."""
    known = values.published
    parts = {
        "batch": known.batch,
        "workers": f"{known.workers:,}" if known.workers else "not known",
        "hardware": known.hardware,
        "top-1": _top1(known),
        "time": known.time,
        "efficiency against": known.baseline,
    }
    told = ", ".join(f"{key} {value}" for key, value in parts.items() if value)
    return [f"published ({known.source}): {told}", *(f"  {n}" for n in known.footnotes)]


def _top1(known: Published) -> str:
    of = f" (median of the last {known.median_of} epochs)" * (known.median_of > 1)
    return f"{known.top1} %{of}" if known.top1 else ""


def forecast_lines(values: Recipe, size: int, training: int) -> list[str]:
    """Return communication and time of ``size`` ranks of the recipe's cluster."""
    wire, cluster = values.reduction.wire, values.published.cluster
    nbytes = forecast.gradient_bytes(values.model, wire)
    head = f"gradients: {nbytes:,} bytes of {wire or 'float32'}"
    default = cluster.algorithm if cluster else DEFAULT
    processor = cluster.processor if cluster else ""
    gradients = forecast.gradients(
        values.model, values.reduction, default=default, processor=processor
    )
    names = " and ".join(dict.fromkeys(call.algorithm for call in gradients.late))
    if cluster is None and values.reduction.algorithm == "auto":
        names = f"{names} (auto takes what is fastest there)"
    where = cluster.machine if cluster else "each rank on a node of its own"
    try:
        patterns = _pattern_lines(values, cluster, gradients.late, size)
        if reason := _untimed(values, training):
            return [f"{head}; {where}, {names}:", *patterns, f"  no forecast: {reason}"]
        return [
            f"{head}; forecast for {where}, {names}:",
            *_band_lines(values, cluster, gradients, patterns, size),
            *_scaling_lines(cluster, gradients),
        ]
    except UnsupportedTopology as error:
        return [f"{head}; no forecast, {where}: {error}"]


def _untimed(values: Recipe, training: int) -> str:
    """Say why no time can be computed, or nothing."""
    if values.published.cluster is None:
        return "the links of its machine are not known here"
    count = layers.parameters(values.model).total
    if (training, values.images.size, count) != (IMAGENET, PIXELS, PARAMETERS):
        return "it is for ImageNet and ResNet-50 at 224 pixels"
    return ""


def _pattern_lines(
    values: Recipe, cluster: Cluster | None, calls: list[Call], size: int
) -> list[str]:
    """Return who sends how much in an update of each phase."""
    itemsize = forecast.ITEMSIZE[values.reduction.wire or "float32"]
    return [
        f"  from epoch {part.epoch:g}: "
        + _pattern(cluster, calls, phases.share(part, size).active, itemsize)
        for part in phases.of(values, size)
    ]


def _band_lines(
    values: Recipe,
    cluster: Cluster,
    gradients: Gradients,
    patterns: list[str],
    size: int,
) -> list[str]:
    """Return pattern and time of an update in each phase, and the time of all."""
    parts, known = phases.of(values, size), values.published
    bands = [forecast.update(cluster, gradients, part, size) for part in parts]
    lines = [
        f"{pattern}; {band.least * 1e3:.2f} to {band.most * 1e3:.2f} ms an update"
        for pattern, band in zip(patterns, bands, strict=True)
    ]
    total = forecast.run(
        bands,
        parts,
        span=values.lr.span_epochs,
        epochs=values.epochs,
        training=IMAGENET,
    )
    return [
        *lines,
        f"  in all {total.least:.1f} s (gradients travel while the backward pass runs) "
        f"to {total.most:.1f} s (after it); published {known.time} on "
        f"{known.workers:,}",
        "  from the makers' figures of the links, no prediction: evaluations, "
        "start-up, stragglers, input and launches are not in it",
        f"  computation: {cluster.source}",
    ]


def _scaling_lines(cluster: Cluster, gradients: Gradients) -> list[str]:
    """Set published efficiencies beside the forecast's, where there are any."""
    if not cluster.rates:
        return []
    size, rate = cluster.rates[0]
    lines = [
        f"efficiency in % of {size} GPUs at {rate:,} images/s, gradients sent after "
        "the backward pass or beside it; the fit adds the residual of its first row, "
        "which it cannot miss",
        f"  {'GPUs':>6}{'published':>11}{'after':>12}{'beside':>8}"
        f"{'residual ms':>13}{'fit':>7}{'error':>7}",
    ]
    for row in forecast.scaling(cluster, gradients):
        error = row.fitted - row.published
        lines.append(
            f"  {row.size:>6}{printed(row.published):>11}{row.band.least:>12.1%}"
            f"{row.band.most:>8.1%}{row.residual_s * 1e3:>13.2f}{row.fitted:>7.1%}"
            f"{error * 100:>+7.1f}"
        )
    return lines


def printed(efficiency: float) -> str:
    """Return an efficiency as Mikami et al. print it, cut off and not rounded.

    >>> printed(0.740854)
    '74.08%'
    """
    return f"{int(efficiency * 10_000) / 100:.2f}%"


def _pattern(
    cluster: Cluster | None, calls: list[Call], size: int, itemsize: int
) -> str:
    """Say who sends how much in an update of ``size`` ranks."""
    if size == 1:
        return "1 rank, no communication"
    if cluster is None:
        topology = Topology.sized([1] * size)
    else:
        topology = forecast.place(cluster, size)
    seen = [
        forecast.traffic(call.algorithm, topology, call.nbytes // itemsize, itemsize)
        for call in calls
    ]
    steps, nbytes = (sum(amounts) for amounts in zip(*seen, strict=True))
    several = f" of {len(calls)} buckets" if len(calls) > 1 else ""
    return f"{topology.describe()}; {steps} steps{several}, {nbytes:,} bytes a rank"
