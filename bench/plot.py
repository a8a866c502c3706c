"""Plot: bus bandwidth against size, all contenders, out of place and in place.

    python -m bench.plot OLD.json out.svg

draws an earlier measurement; ``bench.allreduce --plot out.svg`` a new one.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from collectives import InvalidArgument, usage

from .command import unwritable
from .files import read_json
from .options import check_plot
from .row import Row

NAME = "python -m bench.plot"
# Eleven hues and six markers: pairs repeat after 66 names, and markers tell the curves
# apart where hues do not, in print or with impaired colour vision.
COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#2f9e44", "#832db6", "#a96b59"),
    *("#e76300", "#b9ac70", "#717581", "#92dadd", "#e377c2"),
)
MARKERS = "osD^vP"
APART: dict[str, dict[str, Any]] = {
    "auto": {"color": "black", "linewidth": 3},
    "native": {"color": "black", "linestyle": "--", "linewidth": 2},
    "gloo": {"color": "dimgrey", "linestyle": ":", "linewidth": 2.5},
    "nccl": {"color": "dimgrey", "linestyle": "-.", "linewidth": 2.5},
}


class Curve(NamedTuple):
    """One contender in one panel: bytes, GB/s."""

    name: str
    sizes: list[int]
    busbw: list[float]


def curves(rows: Iterable[Row], *, in_place: bool) -> list[Curve]:
    """Return the curves of a panel, in the order of the rows, sizes rising."""
    points: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.in_place == in_place:
            points.setdefault(row.algorithm, {})[row.size] = row.busbw
    return [
        Curve(name, sorted(found), [found[size] for size in sorted(found)])
        for name, found in points.items()
    ]


def ranking(panels: Iterable[Sequence[Curve]]) -> list[str]:
    """Return all names, the best at the largest size of the last panel first."""
    last: dict[str, float] = {}
    for panel in panels:
        last |= {curve.name: curve.busbw[-1] for curve in panel}
    return sorted(last, key=lambda name: -last[name])


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return how to draw each name: baselines dashed, all but ``auto`` coloured."""
    return APART | {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linewidth": 1.5,
        }
        for i, name in enumerate(sorted(set(names) - set(APART)))
    }


def draw(path: str, meta: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write the picture of a measurement; the name's end tells the format."""
    from matplotlib.figure import Figure

    panels = [curves(rows, in_place=in_place) for in_place in (False, True)]
    names = ranking(panels)
    style = styles(names)
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    figure.suptitle("\n".join(title(meta, rows)), fontsize=10)
    axes = figure.subplots(1, 2, sharey=True)
    handles = {}
    for panel, axis, place in zip(
        panels, axes, ("out of place", "in place"), strict=True
    ):
        for curve in panel:
            (handles[curve.name],) = axis.plot(
                curve.sizes, curve.busbw, markersize=5, **style[curve.name]
            )
        axis.set(title=place, xlabel="size (bytes)")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda size, _: binary(size))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("bus bandwidth (GB/s)")
    axes[0].set_ylim(bottom=0)  # after all curves: the panels share their scale
    figure.legend(
        [handles[name] for name in names],
        names,
        loc="outside right upper",
        title="best first, at the\nlargest size in place",
        fontsize=9,
    )
    figure.savefig(path)


def title(meta: dict[str, Any], rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines above the picture: what was measured, and on what."""
    kinds = dict.fromkeys(f"{row.dtype} {row.op}" for row in rows)
    yield f"allreduce, {', '.join(kinds)}; {meta['layout']}"
    hardware, versions = meta.get("hardware", {}), meta.get("versions", {})
    about = [hardware.get("cpu"), versions.get("mpi"), meta.get("buffers")]
    about.append(meta.get("date"))
    yield ", ".join(text for text in about if text)


def binary(size: float) -> str:
    """Write bytes with a binary suffix.

    >>> binary(65536), binary(2)
    ('64K', '2')
    """
    power = 0
    while size >= 1024 and power < 3:
        size, power = size / 1024, power + 1
    return f"{size:g}{' KMG'[power]}".strip()


def check_matplotlib() -> None:
    """Check that pictures can be drawn.

    Raises:
        InvalidArgument: matplotlib cannot be imported.
    """
    try:
        from matplotlib.figure import Figure  # noqa: F401
    except ImportError as error:
        raise InvalidArgument(
            f"a plot needs matplotlib ({error}); pip install '.[plot]'"
        ) from None


def main(arguments: list[str] | None = None) -> int:
    """Draw a file; return the exit code: 0, or 2 if the command cannot be obeyed."""
    parser = usage.Parser(
        prog=NAME, description="Draw what bench.allreduce has measured."
    )
    parser.add_argument("file", metavar="OLD.json", help="what --json wrote")
    parser.add_argument("picture", metavar="out.svg", help="to write; .svg or .png")
    try:
        options = parser.parse_args(arguments)
        check_plot(options.picture)
        meta, rows = read_json(options.file)
        problem = unwritable(options.picture)
        if problem is not None:
            raise InvalidArgument(problem)
        check_matplotlib()
    except InvalidArgument as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 2
    draw(options.picture, meta, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
