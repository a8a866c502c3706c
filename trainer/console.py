"""Console: what people see of a run while it lasts.

``lines``, the default, shows one line for each interval, evaluation and checkpoint::

    epoch  0.36 of 12  update   40  loss 2.2671  lr 0.025  812.4 images/s  0:01:03 left

``bar`` keeps the intervals in one bar at the bottom.  It needs a terminal, and under a
launcher ``isatty`` is no guide: MPICH hides the terminal from all ranks, and Open MPI
gives each one of its own, of zero columns.  The environment variable that rich has for
this, ``TTY_COMPATIBLE=1``, says that there is one.
"""

import importlib.util
import os
from datetime import timedelta
from typing import Any, Protocol, TextIO

from collectives import InvalidArgument
from trainer import packages, stragglers

PROGRESS = ("lines", "bar")
Event = dict[str, Any]


class Console(Protocol):
    """Shows lines and events."""

    def line(self, text: str) -> None:
        """Show one line."""

    def event(self, event: Event) -> None:
        """Show an event, if it is one for people."""

    def close(self) -> None:
        """Leave the screen as it is."""


def make(progress: str, stream: TextIO) -> Console:
    """Return the console of a kind; lines, where ``stream`` is no terminal."""
    if progress == "bar":
        if is_terminal(stream):
            return Bar(stream)
        lines = Lines(stream)
        lines.line(
            "--progress bar: no terminal is seen here, so there are lines; if there is "
            "one behind the launcher, set TTY_COMPATIBLE=1"
        )
        return lines
    return Lines(stream)


def check(progress: str) -> None:
    """Refuse a kind that is not to be had here.

    Raises:
        InvalidArgument: with what to install.
    """
    if progress == "bar" and importlib.util.find_spec("rich") is None:
        raise InvalidArgument(f"--progress bar: {packages.absent('rich', 'rich')}")


def is_terminal(stream: TextIO) -> bool:
    """Say whether a bar can be drawn: a terminal with columns, or so the user says."""
    said = os.environ.get("TTY_COMPATIBLE")
    if said in ("0", "1"):
        return said == "1"
    try:
        return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        return False


class Lines:
    """Whole lines, each flushed."""

    def __init__(self, stream: TextIO):
        """Write to ``stream``."""
        self.stream, self.course = stream, Course()

    def line(self, text: str) -> None:
        """Write one line."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def event(self, event: Event) -> None:
        """Write an event as a line."""
        text = self.course.text(event)
        if text is not None:
            self.line(text)

    def close(self) -> None:
        """Nothing is left to do."""


class Bar:
    """A bar that each interval moves, below the other lines."""

    def __init__(self, stream: TextIO):
        """Draw on ``stream``, and only when something is told: no thread redraws."""
        from rich.console import Console as Screen
        from rich.progress import BarColumn, Progress, TextColumn

        self.course = Course()
        self.progress = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.description}", markup=False),
            console=Screen(file=stream, highlight=False, markup=False),
            auto_refresh=False,
            transient=True,
        )
        self.task: Any = None

    def line(self, text: str) -> None:
        """Write one line, above the bar."""
        self.progress.console.print(text, soft_wrap=True)

    def event(self, event: Event) -> None:
        """Move the bar, or write an event as a line."""
        text = self.course.text(event)
        if text is None:
            return
        if event["event"] != "step":
            self.line(text)
            return
        if self.task is None:
            self.task = self.progress.add_task("", total=1.0)
            self.progress.start()
            # Nobody would show it again, should another rank end the job.
            self.progress.console.show_cursor(True)
        self.progress.update(
            self.task,
            completed=self.course.done(event),
            description=self.course.short_text(event),
            refresh=True,
        )

    def close(self) -> None:
        """Remove the bar."""
        if self.task is not None:
            self.progress.stop()


class Course:
    """From events to text, with the time that is left."""

    def __init__(self) -> None:
        """Nothing is known before the event ``config``."""
        self.config: Event = {}

    def text(self, event: Event) -> str | None:
        """Return the line of an event; None for one that is not for people."""
        kind = event["event"]
        if kind == "config":
            self.config = event
            return None
        if kind == "step":
            return (
                f"{self._where(event)}  update {event['step']:>4}  "
                f"loss {event['loss']:.4f}  lr {event['lr']:<7.4g} "
                f"{event['images_per_s']:>7,.1f} images/s  {self._left(event)} left"
            )
        if kind == "eval":
            return (
                f"{self._where(event)}  evaluated    loss {event['loss']:.4f}  "
                f"top-1 {event['top1']:.2f} % ({event['correct']} of {event['count']})"
                + skipped(event)
            )
        if kind == "phase":
            return (
                f"{self._where(event)}  batch {event['batch']:,} images in microbatches"
                f" of {event['per_worker']}, momentum {event['momentum']:.4g}"
            )
        if kind == "stragglers":
            return stragglers.line(event)
        if kind == "checkpoint":
            return f"checkpoint {event['path']}"
        if kind == "final":
            return final(event)
        return None

    def short_text(self, event: Event) -> str:
        """Return what stands beside a bar, on a screen of 80 columns, of a step."""
        return (
            f"{self._where(event)}  loss {event['loss']:.4f}  "
            f"{event['images_per_s']:,.0f} images/s  {self._left(event)} left"
        )

    def done(self, event: Event) -> float:
        """Return how much is done, 0 to 1, of what this process has set out to do."""
        start, epochs = self.config["epochs_done"], self.config["settings"]["epochs"]
        part = (event["epochs_done"] - start) / (epochs - start)
        if self.config["max_steps"]:
            updates = event["step"] - self.config["step"]
            part = max(part, updates / self.config["max_steps"])
        return min(part, 1.0)

    def _where(self, event: Event) -> str:
        epochs = self.config["settings"]["epochs"]
        width = len(str(epochs)) + 3
        return f"epoch {event['epochs_done']:{width}.2f} of {epochs}"

    def _left(self, event: Event) -> timedelta:
        """Estimate by what has passed, evaluations and checkpoints included."""
        done = self.done(event)
        passed = event["time"] - self.config["time"]
        return timedelta(seconds=round(passed * (1 - done) / done))


def skipped(event: Event) -> str:
    """Return what an evaluation adds of images that could not be read, if any."""
    count = event.get("unreadable", 0)
    if not count:
        return ""
    return (
        f", {count} unreadable images skipped, such as {event['unreadable_files'][0]}"
    )


def final(event: Event) -> str:
    """Return the last line: the result, and as the recipe's source takes it."""
    line = (
        f"final top1={event['top1']:.2f}% loss={event['loss']:.4f} "
        f"images/s={event['images_per_s']:.1f} allreduce={event['allreduce_s']:.2f}s"
    )
    if "top1_median" not in event:
        return line
    return f"{line} top1_median{event['top1_median_of']}={event['top1_median']:.2f}%"
