"""Lane table: what several MPIs measured, round by round, as one table of medians."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from .report import said

BASELINE = "native"
HEADER = ("command", "date", "hardware", "rounds", "ratio")


class Finding(NamedTuple):
    """What one launch of the benchmark wrote: its meta data, and its rows."""

    lane: str
    ranks: int
    meta: dict[str, Any]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class LaneRow:
    """An algorithm at one size in one lane; the numbers are medians over the rounds."""

    lane: str
    ranks: int
    algorithm: str
    size: int  # bytes
    count: int  # elements
    dtype: str
    op: str
    in_place: bool
    time_us: float
    ratio: float | None  # time of the lane's native / time; None: it takes no part
    ratio_least: float | None  # of all rounds
    ratio_most: float | None


SAME = ("algorithm", "size", "count", "dtype", "op", "in_place")
KEY = ("lane", "ranks", *SAME)


def medians(findings: Iterable[Finding]) -> list[LaneRow]:
    """Return a row for each lane, number of ranks, algorithm, size and place."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for lane, ranks, _, rows in findings:
        for row in rows:
            key = (lane, ranks, *(row[name] for name in SAME))
            groups.setdefault(key, []).append(row)
    found = []
    for key, rows in groups.items():
        ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
        numbers = {
            "time_us": median(row["time_us"] for row in rows),
            "ratio": median(ratios) if ratios else None,
            "ratio_least": min(ratios, default=None),
            "ratio_most": max(ratios, default=None),
        }
        found.append(LaneRow(**dict(zip(KEY, key, strict=True)), **numbers))
    return found


def about(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return hardware and options; for each lane its versions, and who is left out."""
    found: dict[str, Any] = {"lanes": {}}
    for lane, _, meta, _ in findings:
        found.setdefault("hardware", meta["hardware"])
        found.setdefault("options", meta["options"])
        facts = found["lanes"].setdefault(
            lane, {"versions": meta["versions"], "left_out": {}}
        )
        facts["left_out"].update(meta["left_out"])
    return found


def text(meta: dict[str, Any], rows: Sequence[LaneRow]) -> str:
    """Return what people read: how it was measured, and a table for each ``--np``."""
    lines = [f"# {key}: {said(meta[key])}" for key in HEADER]
    for lane, facts in meta["lanes"].items():
        lines.append(f"# {lane}: {said(facts['versions'])}")
        left_out = facts["left_out"].items()
        lines += [f"# {lane}: left out: {name}: {why}" for name, why in left_out]
    for ranks in dict.fromkeys(row.ranks for row in rows):
        lines += table(ranks, [row for row in rows if row.ranks == ranks])
    lines += ["#", *lowest(rows)]
    return "\n".join(line.rstrip() for line in lines)


def table(ranks: int, rows: Sequence[LaneRow]) -> list[str]:
    """Return the lines of one ``--np``: sizes and places by lanes and algorithms."""
    names = [name for name in unique(rows, "algorithm") if name != BASELINE]
    columns = [f"{BASELINE} us", *names]
    widths = [max(10, len(column) + 2) for column in columns]
    lanes = unique(rows, "lane")
    found = {(r.lane, r.algorithm, r.size, r.in_place): r for r in rows}
    lines = [
        "#",
        f"# {f'{ranks} ranks':24}" + "".join(f"{x:>{sum(widths)}}" for x in lanes),
        f"# {'size (B)':>12}{'place':>12}" + aligned(columns, widths) * len(lanes),
    ]
    for size, in_place in dict.fromkeys((row.size, row.in_place) for row in rows):
        line = f"  {size:>12}{'in' if in_place else 'out of':>12}"
        for lane in lanes:
            native, *others = (
                found.get((lane, name, size, in_place)) for name in (BASELINE, *names)
            )
            values = [native.time_us if native else None]
            values += [row.ratio if row else None for row in others]
            line += aligned(map(number, values), widths)
        lines.append(line)
    return lines


def unique(rows: Iterable[LaneRow], field: str) -> list[str]:
    """Return the values of a field, each once, in the order of the rows."""
    return list(dict.fromkeys(getattr(row, field) for row in rows))


def aligned(texts: Iterable[str], widths: Iterable[int]) -> str:
    """Align the columns of one lane."""
    return "".join(f"{t:>{w}}" for t, w in zip(texts, widths, strict=True))


def number(value: float | None) -> str:
    """Write a time or a ratio, N/A where there is none."""
    return "N/A" if value is None else f"{value:.2f}"


def lowest(rows: Iterable[LaneRow]) -> list[str]:
    """Return a line for each algorithm: its lowest ratio, and where that is."""
    least: dict[str, LaneRow] = {}
    for row in rows:
        if row.ratio is None or row.algorithm == BASELINE:
            continue
        other = least.get(row.algorithm)
        if other is None or other.ratio is None or row.ratio < other.ratio:
            least[row.algorithm] = row
    return [
        f"# lowest ratio: {row.ratio:.2f} {name}, {row.lane}, {row.ranks} ranks, "
        f"{row.size} B {'in' if row.in_place else 'out of'} place"
        for name, row in least.items()
    ]


def write_json(path: str, meta: dict[str, Any], rows: Iterable[LaneRow]) -> None:
    """Write ``{"meta": {...}, "rows": [...]}``."""
    found = {"meta": meta, "rows": [asdict(row) for row in rows]}
    Path(path).write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def write_csv(path: str, rows: Iterable[LaneRow]) -> None:
    """Write the rows; what was not measured stays empty."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(LaneRow)])
        writer.writeheader()
        writer.writerows(map(asdict, rows))
