"""Host: what this machine and its MPI library call themselves."""

import platform
from contextlib import suppress
from functools import cache


def library() -> str:
    """Return name and version of the MPI library."""
    from mpi4py import MPI

    first = MPI.Get_library_version().rstrip("\0").splitlines()[0]
    return " ".join(first.partition(",")[0].replace("Version:", "").split())


@cache
def processor() -> str:
    """Return the name of the processor."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:  # one core's suffice: with hundreds it takes long to read
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
