"""Files: what was measured, for programs; JSON can be read again, CSV is flat."""

import csv
import json
from collections.abc import Iterable
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from collectives import InvalidArgument

from .row import PERCENTILES, Row

NEEDED = {field.name for field in fields(Row) if field.default is MISSING}
KNOWN = {field.name for field in fields(Row)}
TEXTS = {"algorithm", "dtype", "op"}
MAYBE = {"wrong", "ratio", "roof", "device_us"}
META: dict[str, type] = {  # what others rely on, where it is there
    **dict.fromkeys(("layout", "date", "buffers"), str),
    **dict.fromkeys(("hardware", "versions"), dict),
}


def write_json(path: str, meta: dict[str, Any], rows: Iterable[Any]) -> None:
    """Write ``{"meta": {...}, "rows": [...]}``; rows are dataclasses."""
    found = {"meta": meta, "rows": [asdict(row) for row in rows]}
    Path(path).write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def read_json(path: str) -> tuple[dict[str, Any], list[Row]]:
    """Read what `write_json` wrote; files from before a field was added are read too.

    Raises:
        InvalidArgument: it cannot be read, or was not written by this benchmark.
    """
    found = parsed(path, "expected what --json writes")
    problem = strange(found)
    if problem is not None:
        raise InvalidArgument(
            f"{path!r} {problem}; expected a file that this version of "
            "`python -m bench.allreduce --json` writes: measure again with it"
        )
    return found["meta"], [Row(**row) for row in found["rows"]]


def parsed(path: str, cure: str) -> Any:
    """Return what a JSON file says.

    Raises:
        InvalidArgument: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InvalidArgument(f"cannot read {path!r}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgument(f"{path!r} is no JSON: {error}; {cure}") from None


def strange(found: Any) -> str | None:
    """Say what is not as in a file of ours, None if all is."""
    if not isinstance(found, dict) or set(found) != {"meta", "rows"}:
        return "is not {'meta': ..., 'rows': ...}"
    meta, rows = found["meta"], found["rows"]
    if not isinstance(meta, dict) or "layout" not in meta:
        return "has no 'layout' in 'meta'"
    for name, kind in META.items():
        if name in meta and not isinstance(meta[name], kind):
            return f"has {name} = {meta[name]!r} in 'meta'"
    if not isinstance(rows, list) or not rows:
        return "has no rows"
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            return f"row {i} is {row!r}"
        if set(row) - KNOWN or NEEDED - set(row):
            odd = sorted(set(row) - KNOWN) + sorted(NEEDED - set(row))
            return f"row {i} has unknown fields or lacks some: {', '.join(odd)}"
        wrong = [name for name, value in row.items() if not fits(name, value)]
        if wrong:
            return f"row {i} has {wrong[0]} = {row[wrong[0]]!r}"
    return None


def fits(name: str, value: Any) -> bool:
    """Say whether a field of a row may have this value."""
    if name in TEXTS:
        return isinstance(value, str)
    if name == "in_place":
        return isinstance(value, bool)
    if name == "percentiles_us":
        return isinstance(value, dict) and set(value) == set(PERCENTILES)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (number and value >= 0) or (name in MAYBE and value is None)


def write_csv(path: str, rows: Iterable[Row]) -> None:
    """Write the rows, a percentile a column; what was not measured stays empty."""
    flat = [field.name for field in fields(Row) if field.name != "percentiles_us"]
    percentiles = [f"{name}_us" for name in PERCENTILES]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*flat, *percentiles])
        for row in rows:
            writer.writerow(
                [*(getattr(row, name) for name in flat), *row.percentiles_us.values()]
            )
