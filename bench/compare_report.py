"""Report of `bench.compare`: a row for each contender, a verdict on losses."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .compare_options import TRAINER
from .report import said
from .row import PERCENTILES

REFERENCES = ("ddp-gloo", "ddp-nccl")  # one on the host, the other on GPUs
EARLY = 10  # updates; rounding grows tenfold every few updates, whoever trains
HEADER = ("command", "date", "layout", "hardware", "versions", "time", "training")
COLUMNS = ("images/s", "update", "x DDP", "x none", "exposed", "loss", "loss")
UNITS = ("", "(ms)", "", "", "(ms)", "early", "all")
WIDTHS = (12, 12, 12, 10, 12, 10, 10)


class Record(NamedTuple):
    """What all ranks have measured of one contender; R ranks, U updates, T times.

    A time is that of one update, or the mean of a block of them.
    """

    seconds: np.ndarray  # (R, T)
    waited: np.ndarray  # (R, T) seconds
    losses: np.ndarray  # (R, U)


@dataclass(frozen=True)
class Row:
    """One line of the results; ``bench/README.rst`` defines the fields."""

    trainer: str
    images_per_s: float
    update_ms: float
    ratio_ddp: float | None  # of images/s; None: it does not take part
    ratio_none: float | None
    exposed_ms: float | None  # None: not known
    early_difference: float | None  # of losses; None: nothing to compare with
    loss_difference: float | None  # at all updates
    percentiles_ms: dict[str, float]
    losses: list[float]  # mean over the ranks, of each update


def rows(records: dict[str, Record], batch: int) -> list[Row]:
    """Return the rows, given the images of one rank's batch."""
    seconds = {name: record.seconds.max(axis=0) for name, record in records.items()}
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    reference = next(filter(records.__contains__, REFERENCES), "")
    found = []
    for name, record in records.items():
        ours, median = name.startswith((TRAINER, "ours")), medians[name]
        right = records.get(reference)
        if right is not None and name == TRAINER:
            right = averaged(right)
        images = batch * len(record.seconds)
        points = np.percentile(seconds[name] * 1e3, list(PERCENTILES.values()))
        # Who comes last waits for communication alone, the others for that rank too.
        exposed = float(np.median(record.waited.min(axis=0))) * 1e3
        found.append(
            Row(
                trainer=name,
                images_per_s=images / median,
                update_ms=median * 1e3,
                ratio_ddp=ratio(medians.get(reference), median),
                ratio_none=ratio(medians.get("none"), median),
                exposed_ms=exposed if ours else None,
                early_difference=difference(record, right, EARLY) if ours else None,
                loss_difference=difference(record, right) if ours else None,
                percentiles_ms=dict(zip(PERCENTILES, points.tolist(), strict=True)),
                losses=record.losses.mean(axis=0).tolist(),
            )
        )
    return found


def ratio(baseline: float | None, seconds: float) -> float | None:
    """Return how many times faster than the baseline, if there is one."""
    return None if baseline is None else baseline / seconds


def averaged(record: Record) -> Record:
    """Return the losses as `trainer.loop` knows them: their mean over the ranks."""
    mean = record.losses.mean(axis=0)
    return record._replace(losses=np.broadcast_to(mean, record.losses.shape))


def difference(
    record: Record, right: Record | None, updates: int | None = None
) -> float | None:
    """Return the largest relative difference of a loss, on any rank.

    At the first ``updates``, or at all; None where there is nothing to compare with.
    """
    if right is None:
        return None
    mine, theirs = (losses[:, :updates] for losses in (record.losses, right.losses))
    return float(np.max(np.abs(mine - theirs) / np.abs(theirs)))


def beyond(found: Sequence[Row], tolerance: float) -> list[str]:
    """Name the contenders whose early losses are not those of DDP; NaN is not."""
    return [
        row.trainer
        for row in found
        if row.early_difference is not None and not row.early_difference <= tolerance
    ]


def table(meta: dict[str, Any], found: Sequence[Row], tolerance: float) -> str:
    """Return what people read."""
    lines = [f"# {key}: {said(meta[key])}" for key in HEADER]
    lines += [f"# {'trainer':22}" + cells(COLUMNS), f"# {'':22}" + cells(UNITS)]
    lines += [f"  {row.trainer:22}" + cells(numbers(row)) for row in found]
    return "\n".join([*map(str.rstrip, lines), verdict(found, tolerance)])


def numbers(row: Row) -> list[str]:
    """Write the numbers of a row."""
    return [
        f"{row.images_per_s:.1f}",
        f"{row.update_ms:.1f}",
        *(
            "N/A" if value is None else format(value, form)
            for value, form in (
                (row.ratio_ddp, ".3f"),
                (row.ratio_none, ".3f"),
                (row.exposed_ms, ".1f"),
                (row.early_difference, ".1e"),
                (row.loss_difference, ".1e"),
            )
        ),
    ]


def cells(texts: Sequence[str]) -> str:
    """Align the columns."""
    return "".join(f"{t:>{w}}" for t, w in zip(texts, WIDTHS, strict=True))


def verdict(found: Sequence[Row], tolerance: float) -> str:
    """Say whether ours trains as DDP does."""
    wrong = beyond(found, tolerance)
    if wrong:
        return f"# losses: FAILED: {', '.join(wrong)} beyond {tolerance:g}"
    if all(row.loss_difference is None for row in found):
        return "# losses: not compared"
    (reference,) = (row.trainer for row in found if row.trainer in REFERENCES)
    return f"# losses: OK, the first {EARLY} within {tolerance:g} of {reference}'s"


def write_json(path: str, meta: dict[str, Any], found: Sequence[Row]) -> None:
    """Write ``{"meta": {...}, "rows": [...]}``."""
    content = {"meta": meta, "rows": [asdict(row) for row in found]}
    Path(path).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
