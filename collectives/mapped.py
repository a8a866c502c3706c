"""Mapped: which shared libraries this process has loaded, and from where.

``/proc/self/maps`` tells (proc(5)): a line for each range of addresses, a file's path
at its end.  A library that another one has loaded for itself alone, as mpi4py does
libmpi, is found by its path only: opened by that, it is the one that is in use.
"""

import ctypes
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

MAPS = "/proc/self/maps"
PATH_FIELD = 5  # after addresses, permissions, offset, device and inode

# Vendors have their own names for an MPI library.  Not meant are its wrappers for other
# languages, and Cray's libmpi_gtl_cuda, which moves device memory for it.
PATTERNS = {
    "mpi": r"libmpi(ch)?(_(abi|cray|gnu|intel|nvidia|amd|aocc|pgi)(_\d+)*)?",
    "nccl": r"libnccl",
    "cudart": r"libcudart",
}
NAMES = {
    kind: re.compile(rf"{start}(-[0-9a-f]{{8}})?\.so(\.\d+)*")  # auditwheel adds a hash
    for kind, start in PATTERNS.items()
}


class Mapped(NamedTuple):
    """A library in this process: ``mpi``, ``nccl`` or ``cudart``, path and version."""

    kind: str
    path: str
    version: str = ""


def libraries(maps: str = MAPS) -> list[Mapped]:
    """Return the MPI, NCCL and CUDA runtime libraries of this process, in map order.

    Raises:
        OSError: the system does not tell, as only Linux does.
    """
    return [Mapped(*found, version_of(*found)) for found in paths(maps)]


def paths(maps: str = MAPS) -> list[tuple[str, str]]:
    """Return kind and path of these libraries, without asking for their versions.

    Raises:
        OSError: the system does not tell.
    """
    with open(maps, encoding="utf-8", errors="surrogateescape") as lines:
        return named(lines)


def named(lines: Iterable[str]) -> list[tuple[str, str]]:
    r"""Return kind and path of each library in the lines of a maps file, once.

    >>> named(["7f00-7f01 r-xp 0 08:01 42   /opt/my mpi/lib/libmpi.so.40\n"])
    [('mpi', '/opt/my mpi/lib/libmpi.so.40')]
    """
    found: dict[tuple[str, str], None] = {}
    for line in lines:
        fields = line.rstrip("\n").split(maxsplit=PATH_FIELD)
        if len(fields) > PATH_FIELD:
            path = fields[PATH_FIELD].removesuffix(" (deleted)")
            for kind, name in NAMES.items():
                if name.fullmatch(os.path.basename(path)):
                    found[kind, path] = None
    return list(found)


def version_of(kind: str, path: str) -> str:
    """Return the version that a mapped NCCL or CUDA runtime tells, or nothing."""
    ask, read = VERSIONS.get(kind, ("", str))
    number = ctypes.c_int(0)
    with suppress(OSError, AttributeError):
        if ask and getattr(opened(path), ask)(ctypes.byref(number)) == 0:
            return read(number.value)
    return ""


def opened(path: str) -> Any:
    """Return the library at ``path``, which the process has mapped already.

    Raises:
        OSError: it cannot be opened.
    """
    return ctypes.CDLL(path)


def nccl_version(number: int) -> str:
    """Write NCCL's number; since 2.9 it has two digits for the minor version.

    >>> nccl_version(22809), nccl_version(2804)
    ('2.28.9', '2.8.4')
    """
    base = 10_000 if number >= 10_000 else 1000
    return f"{number // base}.{number % base // 100}.{number % 100}"


def cuda_version(number: int) -> str:
    """Write the number of a CUDA driver or runtime.

    >>> cuda_version(12040)
    '12.4'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


VERSIONS: dict[str, tuple[str, Callable[[int], str]]] = {
    "nccl": ("ncclGetVersion", nccl_version),
    "cudart": ("cudaRuntimeGetVersion", cuda_version),
}


def differing(found: Iterable[Mapped], kind: str) -> list[Mapped]:
    """Return the libraries of a kind if the process has two that differ, else none.

    Files of the same version at two paths differ where the version is not known.
    """
    same = [library for library in found if library.kind == kind]
    marks = {library.version or os.path.realpath(library.path) for library in same}
    return same if len(marks) > 1 else []
