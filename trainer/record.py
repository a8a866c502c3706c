"""What a run tells: ``metrics.jsonl`` for programs, plain lines for people.

One JSON object a line: ``event`` (config, step, eval, checkpoint, final), ``schema``,
``time`` (seconds since 1970) and the event's own fields.  Only rank 0 tells anything.
The console gets whole lines, never a bar: under a launcher ``isatty`` is no guide.
"""

import json
import time
from pathlib import Path
from typing import Any, TextIO

SCHEMA = 1


class Recorder:
    """Writes events to a file and lines to a stream; on other ranks, nothing."""

    def __init__(self, stream: TextIO | None):
        """Write lines to ``stream``; None: this rank is silent."""
        self.stream = stream
        self.file: TextIO | None = None

    def open(self, output: str, *, resumed: bool) -> None:
        """Begin ``OUTPUT/metrics.jsonl``, or go on with it where a run is resumed."""
        if self.stream is None:
            return
        path = Path(output) / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "a" if resumed else "w", encoding="utf-8")

    def event(self, event: str, **values: Any) -> None:
        """Append one event, and have it on the disk's way before returning."""
        if self.file is not None:
            head = {"event": event, "schema": SCHEMA, "time": round(time.time(), 3)}
            self.file.write(json.dumps({**head, **values}) + "\n")
            self.file.flush()

    def line(self, text: str) -> None:
        """Show one line."""
        if self.stream is not None:
            self.stream.write(text + "\n")
            self.stream.flush()

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()
            self.file = None
