"""Host: what this machine and its MPI library call themselves."""

import platform
from contextlib import suppress
from functools import cache


def library() -> str:
    """Return name and version of the MPI library."""
    from mpi4py import MPI

    return library_name(MPI.Get_library_version())


def library_name(text: str) -> str:
    r"""Shorten what an MPI library says of itself to its name and version.

    >>> library_name("Intel(R) MPI Library 2021.18.1 for Linux* OS\n")
    'Intel MPI 2021.18.1'
    """
    first = text.rstrip("\0").splitlines()[0].partition(",")[0].partition(" for ")[0]
    for filler in ("(R)", "Library", "Version:"):
        first = first.replace(filler, "")
    return " ".join(first.split())


@cache
def processor() -> str:
    """Return the name of the processor."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:  # one core's suffice: with hundreds it takes long to read
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
