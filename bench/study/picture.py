"""Picture: error against batch, the arms of the verdict and the others."""

from typing import Any

from bench.plot import COLOURS, MARKERS

from . import plan, report, verdict
from .arms import ARMS, REFERENCE
from .record import Record
from .verdict import NEAR, Cell

PANELS = {
    "arms of the verdict": plan.FIRST,
    "M5 and its variants": (
        "M5",
        *(name for name in ARMS if name not in (*plan.FIRST, "M0")),
    ),
}


def draw(path: str, record: Record) -> None:
    """Write the picture; the name's end tells the format."""
    from matplotlib.figure import Figure

    cells = report.cells(record)
    figure = Figure(figsize=(12, 5), layout="constrained")
    size = record.size
    figure.suptitle(
        f"20 glyphs, {size['train']:,} pictures, {size['epochs']} epochs, "
        f"{len(size['seeds'])} random seeds, {size['name']} form"
    )
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (title, names) in zip(axes, PANELS.items(), strict=True):
        base = cells.get(("M0", REFERENCE))
        if base is not None:
            ground(axis, base)
        for name in names:
            curve(axis, name, cells)
        axis.set(title=title, xlabel="batch (pictures)")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter(lambda batch, _: f"{batch:g}")
        axis.yaxis.set_major_formatter(lambda error, _: f"{error:g}")
        axis.yaxis.set_minor_formatter(lambda error, _: f"{error:g}")
        axis.grid(alpha=0.3, which="both")
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    axes[0].set_ylabel("test error (percent)")
    figure.savefig(path)


def ground(axis: Any, base: Cell) -> None:
    """Draw M0 and the band of two standard deviations."""
    wide = NEAR * base.deviation
    axis.axhspan(base.mean - wide, base.mean + wide, color="lightgrey")
    axis.axhline(base.mean, color="black", label=f"M0 {ARMS['M0'].title}, +/- 2 s")


def curve(axis: Any, name: str, cells: verdict.Table) -> None:
    """Draw an arm; its colour and marker are the same in both panels."""
    batches = sorted(batch for arm, batch in cells if arm == name)
    if batches:
        i = list(ARMS).index(name)
        axis.errorbar(
            batches,
            [cells[name, batch].mean for batch in batches],
            [cells[name, batch].deviation for batch in batches],
            color=COLOURS[(i - 1) % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            capsize=2,
            label=f"{name} {ARMS[name].title}",
        )
