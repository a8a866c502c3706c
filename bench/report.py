"""Report: the table people read."""

from collections.abc import Iterable, Sequence
from typing import Any

from .row import Row

HEADER = (
    *("command", "date", "layout", "hardware", "versions"),
    *("buffers", "auto", "native", "time", "roof"),
)
SIDE = ("time", "algbw", "busbw", "#wrong", "roof", "ratio")
UNITS = ("(us)", "(GB/s)", "(GB/s)", "", "(%)", "(x native)")
WIDTHS = (12, 8, 8, 8, 6, 12)
BESIDE = 2 + 18 + 12 + 12 + 10 + 6  # characters before the first time


def header(meta: dict[str, Any]) -> str:
    """Return the lines above the rows: how it was measured, then the columns."""
    lines = [f"# {key}: {said(meta[key])}" for key in HEADER if key in meta]
    lines += [f"# left out: {name}: {why}" for name, why in meta["left_out"].items()]
    sides = ("out-of-place", "in-place")
    width = sum(WIDTHS)
    lines.append(f"#{'':{BESIDE - 1}}" + "".join(f"{side:>{width}}" for side in sides))
    for first, rest in (
        (("algorithm", "size", "count", "type", "redop"), SIDE),
        (("", "(B)", "(elements)", "", ""), UNITS),
    ):
        lines.append("# " + leading(*first) + cells(rest) * 2)
    return "\n".join(line.rstrip() for line in lines)


def said(value: Any) -> str:
    """Write a value of the meta data, a mapping as ``key value`` pairs."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)


def lines(rows: Iterable[Row]) -> str:
    """Return a line for each algorithm and size, both places side by side."""
    paired: dict[tuple[str, int], dict[bool, Row]] = {}
    for row in rows:
        paired.setdefault((row.algorithm, row.size), {})[row.in_place] = row
    found = [line(places[False], places[True]) for places in paired.values()]
    return "\n".join(["#", *found])


def line(out_of_place: Row, in_place: Row) -> str:
    """Return the line of one algorithm and size."""
    row = out_of_place
    head = leading(row.algorithm, str(row.size), str(row.count), row.dtype, row.op)
    return "  " + head + side(out_of_place) + side(in_place)


def leading(algorithm: str, size: str, count: str, dtype: str, op: str) -> str:
    """Align what comes before the times."""
    return f"{algorithm:18}{size:>12}{count:>12}{dtype:>10}{op:>6}"


def side(row: Row) -> str:
    """Align the numbers of one row."""
    return cells(
        (
            f"{row.time_us:.2f}",
            f"{row.algbw:.3f}",
            f"{row.busbw:.3f}",
            "N/A" if row.wrong is None else str(row.wrong),
            "-" if row.roof is None else f"{row.roof:.0f}",
            "N/A" if row.ratio is None else f"{row.ratio:.2f}",
        )
    )


def cells(texts: Sequence[str]) -> str:
    """Align the columns of one side."""
    return "".join(f"{t:>{w}}" for t, w in zip(texts, WIDTHS, strict=True))


def footer(rows: Sequence[Row]) -> str:
    """Return the lines below the rows: the verdict, and averages per algorithm."""
    wrong = wrong_elements(rows)
    verdict = "not checked"
    if wrong is not None:
        verdict = f"{wrong} {'FAILED' if wrong else 'OK'}"
    bandwidths: dict[str, list[float]] = {}
    for row in rows:
        bandwidths.setdefault(row.algorithm, []).append(row.busbw)
    averages = [
        f"# Avg bus bandwidth    : {sum(all_) / len(all_):.3f} {name}"
        for name, all_ in bandwidths.items()
    ]
    return "\n".join([f"# Out of bounds values : {verdict}", *averages])


def wrong_elements(rows: Iterable[Row]) -> int | None:
    """Add up the wrong elements; None where nothing was checked."""
    checked = [row.wrong for row in rows if row.wrong is not None]
    return sum(checked) if checked else None
