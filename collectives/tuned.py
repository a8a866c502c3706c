"""Tuned: a table of what was measured to be fastest, and where it is found.

    mpirun -np 4 python -m bench.tune        # measures, and writes the table

A table holds for one layout of ranks on nodes.  Its lines say which algorithm to take
for a collective, a class of types, registered memory or not, and a range of bytes; and
what every candidate took there.  Two classes: ``half`` is float16 and bfloat16, whose
additions cost more; ``float32`` is all others.

    {"version": 1, "layout": "1x4", "mpi": "MPICH 5.0.2", "cpu": "...", ...
     "lines": [
      {"collective": "allreduce", "dtype": "float32", "registered": false,
       "min": 0, "max": 8191, "algorithm": "native",
       "measured_us": {"4096": {"native": 9.1, "ring": 80.3}}}]}

Rank 0 reads it for all ranks: they must choose alike.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from .choice import Choice
from .errors import InvalidArgument

log = logging.getLogger("collectives")

VERSION = 1
VARIABLE = "COLLECTIVES_TUNED"
OFF = "off"
CLASSES = ("float32", "half")
HALVES = ("float16", "bfloat16")
GARBAGE = OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError


class Line(NamedTuple):
    """What to take from ``min`` to ``max`` bytes, both included, and the evidence."""

    collective: str
    dtype: str  # one of CLASSES
    registered: bool
    min: int
    max: int
    choice: Choice
    measured_us: Mapping[int, Mapping[Choice, float]]  # by bytes

    def nearest(self, nbytes: int) -> int:
        """Return the measured size nearest to ``nbytes``, by ratio."""
        return min(
            self.measured_us, key=lambda n: max(n, nbytes) / max(1, min(n, nbytes))
        )

    def ranking(self, nbytes: int) -> list[tuple[float, Choice]]:
        """Return seconds and choices, this line's first, then the others by time."""
        found = self.measured_us[self.nearest(nbytes)]
        others = sorted(found.keys() - {self.choice}, key=lambda c: (found[c], str(c)))
        return [(found[choice] * 1e-6, choice) for choice in (self.choice, *others)]


@dataclass(frozen=True, eq=False)  # equal if the same: it is a key of caches
class Table:
    """Lines for one layout, the circumstances, and the file they come from."""

    layout: str
    mpi: str
    cpu: str
    command: str
    date: str
    lines: tuple[Line, ...]
    path: str = ""

    def line(
        self, collective: str, dtype: str, registered: bool, nbytes: int
    ) -> Line | None:
        """Return the line for a call, None where nothing was measured."""
        for line in self.lines:
            if line[:3] == (collective, dtype, registered):
                if line.min <= nbytes <= line.max:
                    return line
        return None

    def write(self, path: str) -> None:
        """Write the file that `read` reads, whole or not at all; make its folder."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        part = Path(f"{path}.{os.getpid()}.part")
        part.write_text(to_json(self), "utf-8")
        part.replace(path)


class Found(NamedTuple):
    """A table, or None; and a few words on where it comes from, or why it is None."""

    table: Table | None
    note: str


def dtype_class(dtype: str) -> str:
    """Return the class of a type, by its name."""
    return "half" if dtype in HALVES else "float32"


def find(asked: str | None, layout: str, mpi: str, cpu: str) -> Found:
    """Return the table to go by, on ranks laid out so, with this MPI and processor.

    ``asked`` is a path or ``off``; None: the environment variable COLLECTIVES_TUNED,
    which is either, and without it the user's cache folder.

    Raises:
        InvalidArgument: the file that was asked for is no table.
    """
    told = os.environ.get(VARIABLE)
    if (asked or told) == OFF:
        return Found(None, "tuned tables are off")
    if asked:
        table = read(asked)
    elif told:
        table = from_variable(told)
    else:
        path = default_path(layout, mpi)
        if not os.path.exists(path):
            return Found(None, f"no tuned table {path}: python -m bench.tune writes it")
        try:
            table = read(path)
        except InvalidArgument as error:
            log.warning("%s; it is ignored", error)
            return Found(None, f"{error}; it is ignored")
        if table.cpu != cpu:
            return Found(None, f"tuned table {path} is for {table.cpu}, not {cpu}")
    if table.layout != layout:
        return Found(
            None,
            f"tuned table {table.path} is for ranks laid out {table.layout}, "
            f"not {layout}",
        )
    return Found(table, f"tuned table {table.path}, {table.mpi}, {table.cpu}")


def from_variable(path: str) -> Table:
    """Read the table that the environment asks for."""
    try:
        return read(path)
    except InvalidArgument as error:
        raise InvalidArgument(
            f"{VARIABLE}: {error}; or unset the variable, or set it to {OFF}"
        ) from error


def default_path(layout: str, mpi: str) -> str:
    """Return where `bench.tune` writes, and a communicator looks: in the user's cache.

    >>> default_path("2x4", "Open MPI v5.0.8").rpartition("/")[2]
    '2x4-open-mpi-v5.0.8.json'
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # as the XDG base directory specification has it
        cache = os.path.expanduser("~/.cache")
    name = re.sub(r"[^a-z0-9.]+", "-", mpi.lower()).strip("-")
    return os.path.join(cache, "collectives", "tuned", f"{layout}-{name}.json")


def read(path: str) -> Table:
    """Read and check a table.

    Raises:
        InvalidArgument: there is no file, or it is no table of this version.
    """
    try:
        return from_json(Path(path).read_text("utf-8"), path)
    except GARBAGE as error:
        what = f"no field {error}" if isinstance(error, KeyError) else error
        raise InvalidArgument(
            f"tuned table {path!r}: {what}; python -m bench.tune writes a new one"
        ) from error


def from_json(text: str, path: str) -> Table:
    """Read the text of a file."""
    fields = json.loads(text)
    if not isinstance(fields, dict) or fields.get("version") != VERSION:
        got = fields.get("version") if isinstance(fields, dict) else type(fields)
        raise ValueError(f"got version {got!r}, expected {VERSION}")
    lines = tuple(line_from(entry) for entry in fields["lines"])
    for one, other in pairwise(sorted(lines, key=lambda line: line[:5])):
        if one[:3] == other[:3] and one.max >= other.min:
            raise ValueError(f"two lines for {other.min} bytes: {other[:3]}")
    about = {key: fields[key] for key in ("layout", "mpi", "cpu", "command", "date")}
    if not all(isinstance(value, str) for value in about.values()):
        raise TypeError(f"{', '.join(about)} must be text")
    return Table(lines=lines, path=path, **about)


def line_from(entry: dict[str, Any]) -> Line:
    """Read one line, and check it."""
    measured = {
        int(nbytes): {Choice.parse(name): float(us) for name, us in times.items()}
        for nbytes, times in entry["measured_us"].items()
    }
    choice = Choice.parse(entry["algorithm"])
    keys = ("collective", "dtype", "registered", "min", "max")
    fields = {key: entry[key] for key in keys}
    line = Line(choice=choice, measured_us=measured, **fields)
    if line.dtype not in CLASSES:
        raise ValueError(f"dtype {line.dtype!r}: choose from {', '.join(CLASSES)}")
    types = [(line.collective, str), (line.registered, bool)]
    if not all(isinstance(value, kind) for value, kind in types):
        raise TypeError("collective must be text, registered true or false")
    if type(line.min) is not int or type(line.max) is not int or line.min > line.max:
        raise ValueError(f"bytes {line.min!r} .. {line.max!r}: expected a range")
    if not measured or not all(choice in times for times in measured.values()):
        raise ValueError(f"{line.min} .. {line.max}: no time of {choice} itself")
    return line


def to_json(table: Table) -> str:
    """Write a table as JSON, one line of the table in one line of text."""
    about = {"version": VERSION}
    about |= {k: v for k, v in vars(table).items() if k not in ("lines", "path")}
    head = json.dumps(about, indent=1).removesuffix("\n}")
    lines = ",\n".join("  " + json.dumps(entry_of(line)) for line in table.lines)
    return f'{head},\n "lines": [\n{lines}\n ]\n}}\n'


def entry_of(line: Line) -> dict[str, Any]:
    """Return one line as `line_from` reads it."""
    measured = {
        str(nbytes): {str(choice): round(us, 1) for choice, us in times.items()}
        for nbytes, times in line.measured_us.items()
    }
    fields = line._asdict() | {"algorithm": str(line.choice)}
    del fields["choice"], fields["measured_us"]
    return fields | {"measured_us": measured}
