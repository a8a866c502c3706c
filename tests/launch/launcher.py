"""Start programs on several ranks from plain pytest, and end all of them in time."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """How a launch ended: exit status, what it printed, and how long it took."""

    status: int
    text: str
    seconds: float


class Launcher(NamedTuple):
    """An MPI: its command, and the Python interpreter that uses it."""

    command: tuple[str, ...]
    python: str

    def run(self, size, program, *args, options=(), timeout_s=60, **environment):
        """Run a Python program, given as text, on ``size`` ranks."""
        command = [*self.command, "-n", str(size), *options, self.python]
        begin = time.monotonic()
        process = subprocess.Popen(
            [*command, "-W", "error", "-c", PRELUDE + program, *map(str, args)],
            cwd=ROOT,
            env=self.environment() | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            text, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # the launcher ends its ranks
            try:
                text, _ = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                text, _ = process.communicate()
            pytest.fail(f"not done after {timeout_s} s; it printed:\n{text}")
        return Outcome(process.returncode, text, time.monotonic() - begin)

    def environment(self):
        """Return the environment of this process without the traces of another MPI."""
        foreign = ("PMI", "PMIX", "OMPI_", "MPIEXEC", "HYDRA", "MPIR", "PRTE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        kept.pop("COLLECTIVES_NODES", None)
        return kept | {
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }


# Lines of several ranks arrive whole: each is written at once.
PRELUDE = """
import os, sys, time
import numpy as np
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


def embedded():
    """Return the MPI next to this interpreter, or on the PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.fail("no mpiexec next to the interpreter or on PATH: pip install mpich")
    return Launcher((found, *oversubscribing(found)), sys.executable)


def openmpi():
    """Return the Open MPI of the environment variable OPENMPI_BIN."""
    folder = os.environ.get("OPENMPI_BIN")
    if not folder or not (Path(folder) / "mpirun").exists():
        pytest.fail(
            f"OPENMPI_BIN={folder!r}: expected the folder of mpirun and python of an "
            "environment with Open MPI; make .venv-openmpi makes one, then set "
            "OPENMPI_BIN=$PWD/.venv-openmpi/bin"
        )
    command = (str(Path(folder) / "mpirun"), "--oversubscribe")
    return Launcher(command, str(Path(folder) / "python"))


def oversubscribing(command):
    """Return the option that Open MPI needs to start more ranks than cores."""
    text = subprocess.run(
        [command, "--version"], capture_output=True, text=True, timeout=30
    ).stdout
    return ("--oversubscribe",) if "Open MPI" in text or "PRRTE" in text else ()
