"""TensorBoard: ``tensorboard --logdir OUTPUT/log/tensorboard``.

Scalars over updates, and the settings as a table.  A run that goes on from an earlier
checkpoint hides what was written after it.
"""

from pathlib import Path
from typing import Any

from trainer.adapter import scalars

PACKAGE = "tensorboard"


class Log:
    """Event files, written by torch's writer."""

    def __init__(self, folder: Path, make_writer: Any):
        """Write into ``folder`` from the first event on."""
        self.folder, self.make_writer = folder, make_writer
        self.writer: Any = None

    def event(self, event: dict[str, Any]) -> None:
        """Add the numbers of an event at its update."""
        kind, step, seconds = event["event"], event["step"], event["time"]
        if kind == "config":
            purged = step + 1 if event["resumed"] else None
            self.writer = self.make_writer(str(self.folder), purge_step=purged)
            self.writer.add_text("settings", table(event), step, walltime=seconds)
            return
        for name, value in scalars(event).items():
            self.writer.add_scalar(name, value, step, walltime=seconds)
        if kind != "step":
            self.writer.flush()

    def close(self) -> None:
        """Flush and close."""
        if self.writer is not None:
            self.writer.close()


def start(folder: Path) -> Log:
    """Return the log."""
    from torch.utils.tensorboard import SummaryWriter

    return Log(folder / "tensorboard", SummaryWriter)


def table(event: dict[str, Any]) -> str:
    """Write the settings and their sources as a table in Markdown."""
    rows = [
        f"| {name} | {value} | {event['sources'].get(name, '')} |"
        for name, value in event["settings"].items()
    ]
    title = f"{event['recipe']} on {event['data']}, {event['ranks']} ranks"
    return "\n".join([title, "", "| setting | value | source |", "|-|-|-|", *rows])
