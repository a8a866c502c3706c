"""Host: what this machine and its MPI library call themselves."""

import platform
from pathlib import Path


def library() -> str:
    """Return name and version of the MPI library."""
    from mpi4py import MPI

    first = MPI.Get_library_version().rstrip("\0").splitlines()[0]
    return " ".join(first.partition(",")[0].replace("Version:", "").split())


def processor() -> str:
    """Return the name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
