"""Against: what changed since an earlier measurement.

Times of two runs tell more about the machine than about the code: it may be another, or
have been busy.  So what is judged is the change of the ratio to native,

    change = (native / time, new) / (native / time, old)

above 1 if the algorithm got faster where the MPI library did not.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .row import Row

Key = tuple[str, int, str, str, bool]
WIDTHS = (18, 12, 14, 12, 12, 10)


class Change(NamedTuple):
    """One row, then and now."""

    old: Row
    new: Row

    @property
    def ratio(self) -> float | None:
        """New ratio to native over the old one; None where one is not known."""
        if not self.old.ratio or self.new.ratio is None:
            return None
        return self.new.ratio / self.old.ratio


def report(
    name: str,
    old: tuple[dict[str, Any], list[Row]],
    new: tuple[dict[str, Any], list[Row]],
    tolerance: float,
) -> str:
    """Return the lines that compare a run with the file ``name``."""
    before, after = by_key(old[1]), by_key(new[1])
    changes = [Change(before[key], after[key]) for key in after if key in before]
    lines = ["#", f"# compared with {name}, of {old[0].get('date', 'unknown date')}"]
    lines += [
        f"# attention: {what} was {then!r}, is {now!r}"
        for what, then, now in differences(old[0], new[0])
    ]
    lines.append(
        "# change: (native / time, new) / (native / time, old); above 1: faster"
    )
    lines += table(changes) if changes else ["# no row is in both"]
    lines += missing(f"only in {name}", [before[k] for k in before if k not in after])
    lines += missing("only in this run", [after[k] for k in after if k not in before])
    return "\n".join([*lines, *verdict(changes, tolerance)])


def by_key(rows: Iterable[Row]) -> dict[Key, Row]:
    """Return the rows by what makes two of them comparable."""
    return {(r.algorithm, r.size, r.dtype, r.op, r.in_place): r for r in rows}


def differences(
    old: dict[str, Any], new: dict[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs and may change the ratios: its name, old, new."""
    for what in ("layout", "hardware", "buffers"):
        if what in old and old[what] != new.get(what):
            yield what, old[what], new.get(what)
    then, now = (meta.get("versions", {}).get("mpi") for meta in (old, new))
    if then != now:
        yield "mpi", then, now


def table(changes: Iterable[Change]) -> Iterator[str]:
    """Yield a line for each change, below their names."""
    yield aligned("algorithm", "size (B)", "place", "old (us)", "new (us)", "change")
    for change in changes:
        row, ratio = change.new, change.ratio
        yield aligned(
            row.algorithm,
            str(row.size),
            place(row),
            f"{change.old.time_us:.2f}",
            f"{row.time_us:.2f}",
            "N/A" if ratio is None else f"{ratio:.2f}",
        )


def aligned(first: str, *others: str) -> str:
    """Align the columns."""
    rest = (f"{text:>{width}}" for text, width in zip(others, WIDTHS[1:], strict=True))
    return f"# {first:{WIDTHS[0]}}" + "".join(rest)


def place(row: Row) -> str:
    """Name where the result goes."""
    return "in-place" if row.in_place else "out-of-place"


def missing(where: str, rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each algorithm that has rows on one side only."""
    sizes: dict[str, list[str]] = {}
    for row in rows:
        kind = f"{row.algorithm} {row.dtype} {row.op}, {place(row)}"
        sizes.setdefault(kind, []).append(str(row.size))
    for kind, found in sizes.items():
        yield f"# {where}: {kind}: {', '.join(found)}"


def verdict(changes: list[Change], tolerance: float) -> Iterator[str]:
    """Yield the lines that name what got slower than native by more than allowed."""
    changes = [change for change in changes if change.new.algorithm != "native"]
    judged = [
        (change.new, change.ratio) for change in changes if change.ratio is not None
    ]
    slower = [(row, ratio) for row, ratio in judged if ratio < 1 - tolerance]
    count = f"{len(slower)} of {len(judged)}"
    yield f"# Regressions          : {count} below {1 - tolerance:.2f}"
    for row, ratio in sorted(slower, key=lambda found: found[1]):
        yield f"#   {row.algorithm} {row.size} {place(row)}: {ratio:.2f}"
    if len(judged) < len(changes):
        yield f"# Not judged           : {len(changes) - len(judged)}, without native"
