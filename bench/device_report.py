"""Report of `bench.device`: rates, each beside its limit and what was to be reached."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .report import said

HEADER = ("command", "date", "layout", "hardware", "versions", "time")
TIME = "median over turns of the slowest rank's time; all ranks measure at once"
COLUMNS = ("part", "what", "type", "size", "rate", "of", "ratio", "to reach")
UNITS = ("", "", "", "(B)", "(GB/s)", "", "", "")


@dataclass(frozen=True)
class Rate:
    """What was measured of one thing; ``bench/TOOLS.rst`` defines the fields."""

    part: str  # memory, pcie, wire or staged
    what: str
    dtype: str
    size: int  # bytes
    gbps: float  # GB/s, GB = 1e9 bytes
    ratio: float | None = None  # gbps / that of the limit
    limit: str | None = None  # copy, pcie or wire
    goal: float | None = None  # least ratio to reach


def header(meta: dict[str, Any]) -> str:
    """Return the lines above the rates."""
    about = [f"# {key}: {said(meta[key])}" for key in HEADER if key in meta]
    return "\n".join([*about, "# " + cells(COLUMNS), "# " + cells(UNITS)])


def lines(rates: Iterable[Rate]) -> str:
    """Return a line for each rate, after an empty one."""
    return "\n".join(["#", *map(line, rates)])


def line(rate: Rate) -> str:
    """Return the line of one rate, and the verdict where there is a goal."""
    goal = ""
    if rate.goal is not None and rate.ratio is not None:
        reached = "reached" if rate.ratio >= rate.goal else "missed"
        goal = f"{rate.goal:.2f} {reached}"
    return "  " + cells(
        (
            rate.part,
            rate.what,
            rate.dtype,
            str(rate.size),
            f"{rate.gbps:.2f}",
            rate.limit or "",
            "" if rate.ratio is None else f"{rate.ratio:.3f}",
            goal,
        )
    )


def cells(texts: tuple[str, ...]) -> str:
    """Align the columns."""
    part, what, dtype, size, rate, limit, ratio, goal = texts
    return (
        f"{part:8}{what:16}{dtype:>9}{size:>12}{rate:>11}{limit:>6}{ratio:>8}  {goal}"
    ).rstrip()
