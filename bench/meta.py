"""Meta: the circumstances of a measurement, without which its numbers say nothing."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import collectives
from collectives import host


def describe(
    options: Any, layout: str, left_out: dict[str, str], command: Sequence[str]
) -> dict[str, Any]:
    """Return command, date, layout of the ranks, hardware, versions and options.

    ``left_out`` tells why algorithms that were asked for do not take part.
    """
    return {
        "command": shlex.join(command),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "layout": layout,
        "hardware": {"cpu": host.processor(), "cores": os.cpu_count()},
        "versions": versions(),
        "time": "median over iterations of the slowest rank's time from a barrier",
        "left_out": left_out,
        "options": asdict(options),
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part; torch's where it is loaded."""
    found = {
        "collectives": collectives.__version__,
        "python": platform.python_version(),
        "numpy": installed("numpy"),
        "mpi4py": installed("mpi4py"),
        "mpi": host.library(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = str(torch.__version__)
        found["torch threads"] = str(torch.get_num_threads())
    return found


def installed(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
