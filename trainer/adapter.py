"""Adapters: other programs' logs, fed by the events of ``metrics.jsonl``.

An adapter is one file in ``trainer/adapters/``; the file name is its name, and that of
its extra.  It defines

* ``PACKAGE``: the module that must be there for it;
* ``start(folder)``: a `Log` that writes into ``folder``, where what an earlier process
  of the same run has written may be found.

It imports its package in ``start``: nobody who does not ask for it needs it.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from collectives import InvalidArgument
from trainer import packages

FOLDER = "log"  # of the output
GROUPS = {"phase": "train", "step": "train", "eval": "eval", "final": "final"}
HEAD = ("schema", "time", "step", "epoch")


class Log(Protocol):
    """A log that somebody else's program reads."""

    def event(self, event: dict[str, Any]) -> None:
        """Write what there is to write of an event; the first is ``config``."""

    def close(self) -> None:
        """Finish; without a ``final`` event before, the run was interrupted."""


def names() -> list[str]:
    """Return the names of all adapters: the files of ``trainer/adapters/``."""
    from trainer import adapters

    return packages.modules(adapters)


def named(text: str | None) -> tuple[str, ...]:
    """Return the adapters in a list such as ``tensorboard,wandb``, each once.

    Raises:
        InvalidArgument: there is none of a name, or its package is not installed.
    """
    found = tuple(dict.fromkeys(part.strip() for part in (text or "").split(",")))
    found = tuple(name for name in found if name)
    for name in found:
        package = find(name).PACKAGE
        if importlib.util.find_spec(package) is None:
            raise InvalidArgument(f"--log {name}: {packages.absent(package, name)}")
    return found


def find(name: str) -> ModuleType:
    """Return the module of this adapter.

    Raises:
        InvalidArgument: no file of ``trainer/adapters/`` has this name.
    """
    if name not in names():
        raise InvalidArgument(
            f"--log: got {name!r}, expected some of {', '.join(names())}"
        )
    return importlib.import_module(f"trainer.adapters.{name}")


def start(logs: Sequence[str], output: str) -> dict[str, Log]:
    """Return the logs of these names, writing below ``output``.

    Raises:
        InvalidArgument: one of them cannot be started; the message says why.
    """
    started: dict[str, Log] = {}
    folder = Path(output) / FOLDER
    for name in logs:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            started[name] = find(name).start(folder)
        except Exception as error:  # of any kind: it is another program's
            raise InvalidArgument(
                f"--log {name}: cannot be started: {error}"
            ) from error
    return started


def scalars(event: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of an event, by its group and name.

    >>> scalars({"event": "step", "time": 2.0, "step": 8, "loss": 0.5, "grid": "2 x 1"})
    {'train/loss': 0.5}
    """
    group = GROUPS.get(event["event"])
    return {
        f"{group}/{name}": float(value)
        for name, value in event.items()
        if group and name not in HEAD and isinstance(value, int | float)
    }
