"""Record: what the study has found so far, in a file that a restart goes on from.

    {"meta": ..., "size": ..., "tuning": [...], "rows": [...], "equality": ...}

The file is replaced whenever a run has ended, so a stopped study loses one run a rank.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bench import files
from collectives import InvalidArgument

from .task import CALIBRATION, DATA_SEED, NOISE, Size
from .train import Outcome

PARTS = ("meta", "size", "task", "tuning", "rows", "equality")
KNOWN = {entry.name for entry in fields(Outcome)}
SIZE = {entry.name for entry in fields(Size)}
TASK = {
    "noise": NOISE,
    "data_seed": DATA_SEED,
    "calibration": {str(noise): error for noise, error in CALIBRATION.items()},
}


@dataclass
class Record:
    """Outcomes of tuning and of the arms, with their circumstances."""

    meta: dict[str, Any]
    size: dict[str, Any]
    task: dict[str, Any] = field(default_factory=lambda: TASK)
    tuning: list[Outcome] = field(default_factory=list)
    rows: list[Outcome] = field(default_factory=list)
    equality: dict[str, Any] | None = None


def write(path: str, record: Record) -> None:
    """Replace the file at once."""
    aside = Path(f"{path}.part")
    aside.write_text(json.dumps(asdict(record), indent=1) + "\n", "utf-8")
    os.replace(aside, path)


def read(path: str) -> Record:
    """Read what `write` wrote.

    Raises:
        InvalidArgument: it cannot be read, or was not written by this study.
    """
    cure = "expected a file that `python -m bench.largebatch --json` writes"
    found = files.parsed(path, cure)
    if not isinstance(found, dict) or set(found) != set(PARTS):
        raise InvalidArgument(f"{path!r} is not {{{', '.join(PARTS)}}}; {cure}")
    if not fits(found["size"], SIZE):
        raise InvalidArgument(f"{path!r}: size has other fields; {cure}")
    for name in ("tuning", "rows"):
        rows = found[name]
        if not (isinstance(rows, list) and all(fits(row, KNOWN) for row in rows)):
            raise InvalidArgument(f"{path!r}: {name} has other fields; {cure}")
        found[name] = [Outcome(**row) for row in rows]
    return Record(**found)


def fits(value: Any, names: set[str]) -> bool:
    """Say whether this is a JSON object of these fields."""
    return isinstance(value, dict) and set(value) == names


def resume(path: str, meta: dict[str, Any], size: Size) -> Record:
    """Return the record to go on from: the file's, or an empty one where none is.

    Raises:
        InvalidArgument: the file is of another size or task, whose runs do not compare.
    """
    if not Path(path).exists():
        return Record(meta, size.describe())
    old = read(path)
    if old.size != size.describe() or old.task != TASK:
        raise InvalidArgument(
            f"--json {path}: it holds a study of size {old.size.get('name')!r} and of "
            f"task {old.task}, expected {size.name!r} and {TASK}; name another file"
        )
    return old
