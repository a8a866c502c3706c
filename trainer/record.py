"""What a run tells: ``metrics.jsonl`` for programs, a console for people.

One JSON object a line: ``event`` (config, phase, step, eval, checkpoint, stragglers,
final), ``schema``, ``time`` (seconds since 1970) and the event's own fields.  The
console and the other programs' logs (`trainer.adapter`) are made from the same events
and from nothing else; the file is what counts.  Only rank 0 tells anything.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from trainer import adapter
from trainer.console import Console

SCHEMA = 1


class Recorder:
    """Hands events to a file, a console and other logs; on other ranks, to nobody."""

    def __init__(self, console: Console | None):
        """Show events on ``console``; None: this rank is silent."""
        self.console = console
        self.file: TextIO | None = None
        self.logs: dict[str, adapter.Log] = {}

    def open(self, output: str, *, resumed: bool, logs: Sequence[str] = ()) -> None:
        """Begin ``OUTPUT/metrics.jsonl``, or go on with it where a run is resumed.

        ``logs`` names the adapters that are fed, too.

        Raises:
            InvalidArgument: one of them cannot be started.
        """
        if self.console is None:
            return
        path = Path(output) / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.logs = adapter.start(logs, output)
        self.file = open(path, "a" if resumed else "w", encoding="utf-8")

    def event(self, event: str, **values: Any) -> None:
        """Append one event, on the disk's way before anybody else has it."""
        if self.console is None or self.file is None:
            return
        head = {"event": event, "schema": SCHEMA, "time": round(time.time(), 3)}
        told = {**head, **values}
        self.file.write(json.dumps(told) + "\n")
        self.file.flush()
        self.console.event(told)
        for name in list(self.logs):
            self._attempt(name, lambda name=name: self.logs[name].event(told))

    def line(self, text: str) -> None:
        """Show one line."""
        if self.console is not None:
            self.console.line(text)

    def close(self) -> None:
        """Close the file, the logs and the console."""
        for name in list(self.logs):
            self._attempt(name, lambda name=name: self.logs.pop(name).close())
        if self.file is not None:
            self.file.close()
            self.file = None
        if self.console is not None:
            self.console.close()

    def _attempt(self, name: str, action: Any) -> None:
        """Feed a log; one that fails is dropped: no training ends for it."""
        try:
            action()
        except Exception as error:  # of any kind: it is another program's
            self.logs.pop(name, None)
            self.line(
                f"--log {name}: stopped, {type(error).__name__}: {error}; "
                "metrics.jsonl goes on"
            )
