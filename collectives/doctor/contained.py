"""Contained: run the probe in a job of its own, and say in words how it ended.

The doctor's own ranks cannot try what may kill them, and what they start belongs to
their job as long as the environment says so.  So the launcher that came with their MPI
starts two new ranks on this host, in an environment without the traces of job and
scheduler; a crash, a hang or an error ends that job alone.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .. import job

VERSION_S = 5.0  # for a launcher to tell its version
TAIL_LINES = 5
SHELL = 128  # a shell adds the number of the signal to this
LAUNCHERS_OWN = signal.SIGKILL, signal.SIGTERM
ROOT_FOLDER = Path(__file__).parents[2]

# What tells a process that it belongs to a job: of launchers, and of schedulers, whose
# allocation would otherwise decide where the two ranks run.
TRACES = (
    *("PMI", "OMPI_", "PRTE_", "PRRTE_", "HYDRA_", "HYDI_", "MPIEXEC_", "MPI_LOCAL"),
    *("I_MPI_HYDRA", "I_MPI_MPIRUN", "I_MPI_INFO", "I_MPI_PIN_", "I_MPI_INTERNAL"),
    *("I_MPI_BIND", "I_MPI_RETURN", "PALS_", "SLURM_", "PBS_", "LSB_", "FLUX_"),
)
SETTINGS = (  # of users, among them
    *("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_MCA_pml", "OMPI_MCA_btl", "OMPI_MCA_osc"),
    *("OMPI_MCA_mtl", "OMPI_MCA_opal_cuda", "OMPI_MCA_accelerator", "OMPI_MCA_coll"),
)

# Vendor in the name of the library: what its launcher says of itself, and options to
# start two ranks on however few cores this process has been given.
FAMILIES = {
    "Open MPI": ("(Open MPI)", ("--oversubscribe", "--bind-to", "none")),
    "Intel MPI": ("Intel(R) MPI", ()),
    "MPICH": ("HYDRA", ()),
    "MVAPICH": ("HYDRA", ()),
}
PROGRAMS = ("mpiexec", "mpirun", "mpiexec.hydra", "mpirun.openmpi", "mpiexec.mpich")


class Outcome(NamedTuple):
    """How a probe of a kind of memory ended: one of five states, and what was seen."""

    memory: str
    state: str  # "right", "wrong", "crashed", "late", "failed" or "not run"
    text: str


def probe(
    library: str, libmpi: str | None, memory: str, most: int, timeout_s: float
) -> Outcome:
    """Send buffers of up to ``most`` bytes between two new ranks of this MPI.

    ``library`` and ``libmpi`` are name and path of the library of this process.
    """
    launcher = find(library, libmpi)
    if launcher is None:
        return Outcome(
            memory,
            "not run",
            f"no launcher of {library} beside its library nor on PATH",
        )
    with tempfile.TemporaryDirectory(prefix="collectives-") as folder:
        report = Path(folder) / "report"
        program = [sys.executable, "-m", "collectives.doctor.probe", str(report)]
        options = ["--memory", memory, "--max-bytes", str(most)]
        ended = run([*launcher, "-n", "2", *program, *options], timeout_s)
        lines = report.read_text("utf-8").splitlines() if report.exists() else []
    return Outcome(memory, *judged(lines, *ended, timeout_s))


def find(library: str, libmpi: str | None) -> list[str] | None:
    """Return the launcher of an MPI library with its options, or None.

    It is looked for in the ``bin`` of each folder above the library, then on PATH, and
    must be of the same vendor: another one's would start two jobs of one rank each.
    """
    vendor = next((name for name in FAMILIES if name in library), "MPICH")
    mark, options = FAMILIES[vendor]
    above = [str(folder / "bin") for folder in Path(libmpi).parents] if libmpi else []
    for folder in [*above, *os.get_exec_path()]:
        for name in PROGRAMS:
            path = shutil.which(name, path=folder)
            if path is not None and mark in version(path):
                return [path, *options]
    return None


def version(launcher: str) -> str:
    """Return what a launcher says of itself."""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            [launcher, "--version"],
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_S,
        ).stdout
    return ""


def environment(present: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without traces of a job; this package is found in it.

    >>> sorted(environment({"PMI_RANK": "0", "OMPI_MCA_pml": "ob1"}))
    ['OMPI_MCA_pml', 'PYTHONPATH']
    """
    kept = {
        name: value
        for name, value in present.items()
        if name.startswith(SETTINGS) or not name.startswith(TRACES)
    }
    paths = [str(ROOT_FOLDER), *filter(None, [present.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths)}


def run(command: list[str], timeout_s: float) -> tuple[int | None, str]:
    """Run a command; return its exit code, None if it was stopped, and its output."""
    with tempfile.TemporaryFile() as output:
        code = job.exit_code(command, output, timeout_s, environment(os.environ))
        output.seek(0)
        return code, output.read().decode(errors="replace")


def judged(
    report: Iterable[str], code: int | None, output: str, timeout_s: float
) -> tuple[str, str]:
    """Return the state in which a probe ended, and the words for it."""
    lines = [json.loads(line) for line in report]
    sent = [line["nbytes"] for line in lines if line["state"] == "sends"]
    at = f" at a buffer of {sent[-1]} bytes" if sent else " before anything was sent"
    failed = [line["text"] for line in lines if line["state"] == "failed"]
    number = fatal_signal(code, output)
    wrong = sizes(lines, "wrong")
    if failed:
        return "failed", f"{failed[0]}{at}"
    if code is None:
        return "late", f"did not end within {timeout_s:g} s, stopped{at}"
    if number is not None:
        return "crashed", f"crashed with signal {number} ({name_of(number)}){at}"
    if wrong:
        return "wrong", f"buffers of {wrong} bytes did not arrive as sent"
    if code or sum(line["state"] == "ends" for line in lines) != 2:
        said = " | ".join(output.strip().splitlines()[-TAIL_LINES:])
        return "failed", f"exit code {code}{at}: {said or 'no output'}"
    return "right", f"buffers of {sizes(lines, 'right')} bytes arrived as sent"


def sizes(lines: Iterable[dict[str, Any]], state: str) -> str:
    """Return the bytes of all buffers of a state."""
    found = {line["nbytes"] for line in lines if line["state"] == state}
    return ", ".join(map(str, sorted(found)))


def fatal_signal(code: int | None, output: str) -> int | None:
    r"""Return the signal that has ended a rank, from a launcher's words or exit code.

    Where one rank dies, launchers kill the other one, and some tell of that first.

    >>> fatal_signal(255, "KILLED BY SIGNAL: 9 (Killed)\nKILLED BY SIGNAL: 11")
    11
    >>> fatal_signal(-11, ""), fatal_signal(139, ""), fatal_signal(1, "an error")
    (11, 11, None)
    """
    if not code:
        return None
    told = [int(number) for number in re.findall(r"(?i)\bsignal:?\s+(\d+)", output)]
    if told:
        return next((n for n in told if n not in LAUNCHERS_OWN), told[0])
    if code < 0:
        return -code
    return code - SHELL if SHELL < code <= SHELL + max(signal.valid_signals()) else None


def name_of(number: int) -> str:
    """Return the name of a signal."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"
