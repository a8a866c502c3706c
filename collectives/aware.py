"""Aware: may MPI be given device memory?  Decided without trying: trying can kill.

A library that is not CUDA-aware reads a device address as if it were host memory: the
process ends by a signal that nothing catches.  So several sources are asked, and the
first that gives an answer decides:

    the environment, if it says no    Open MPI 4 answers as built, even if switched off
    MPIX_Query_cuda_support()         Open MPI, MPICH, MVAPICH, Intel MPI
    MPIX_GPU_query_support(0, &yes)   MPICH, Cray MPICH, Intel MPI
    mpi_memory_alloc_kinds            in the info of a communicator, since MPI 4.1
    the environment, if it says yes   where the library itself does not tell

The functions are extensions, which mpi4py does not have; they are looked up in the
library that this process has mapped.  What a library says of itself can be wrong:
`collectives.doctor` tries it, in processes that may die of it.
"""

import ctypes
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from . import host, mapped
from .errors import InvalidArgument

log = logging.getLogger("collectives")

CHOICES = ("auto", "device", "staged")
CUDA = 0  # MPIX_GPU_SUPPORT_CUDA
KINDS = "mpi_memory_alloc_kinds"

# What is set for a library of another vendor says nothing about this one.
HINTS = {
    "MPICH_GPU_SUPPORT_ENABLED": "CRAY",
    "MV2_USE_CUDA": "MVAPICH",
    "OMPI_MCA_opal_cuda_support": "OPEN MPI",
    "I_MPI_OFFLOAD": "INTEL",
}
OFF = ("", "0", "false", "no", "off", "disable", "disabled")

Answer = tuple[bool | None, str]  # of one source, and what it was


class Verdict(NamedTuple):
    """Whether MPI takes device memory, None if nothing tells; and what was found."""

    aware: bool | None
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a line."""
        words = "not CUDA-aware", "not known to be CUDA-aware", "CUDA-aware"
        return f"{words[rating(self.aware)]} ({'; '.join(self.reasons)})"


def verdict(mpi: Any) -> Verdict:
    """Say whether the MPI library of communicator ``mpi`` takes CUDA device memory.

    It never fails, and calls nothing that other ranks would have to join.
    """
    hints = list(of_hints(os.environ, host.library()))
    off = [hint for hint in hints if hint[0] is False]
    on = [hint for hint in hints if hint[0]]
    return weigh([*off, *of_library(), *of_info(mpi), *on])


def agreed(mpi: Any, asked: str = "auto") -> str:
    """Return how device arrays travel, ``device`` or ``staged``, alike on all ranks.

    ``device`` hands their addresses to MPI, ``staged`` copies them through host memory.
    ``auto`` takes ``device`` only where every rank's verdict is that MPI takes it.
    Rank 0 logs what was decided.  All ranks call it together, with the same choice.

    Raises:
        InvalidArgument: on all ranks, if ``device`` is asked for and the MPI of a rank
            is not known to take device memory.
    """
    verdicts = mpi.allgather(verdict(mpi))
    transport = decided(asked, verdicts, host.library())
    if mpi.rank == 0:
        least = min(verdicts, key=lambda found: rating(found.aware))
        log.info("device arrays: %s; %s is %s", transport, host.library(), least)
    return transport


def decided(asked: str, verdicts: list[Verdict], library: str) -> str:
    """Return the transport for what is asked for, and the verdicts of all ranks.

    Raises:
        InvalidArgument: as for `agreed`.
    """
    for rank, found in enumerate(verdicts):
        if asked == "device" and found.aware is not True:
            raise InvalidArgument(
                f"gpu_transport='device': on rank {rank} {library} is {found}; take "
                "'auto' or 'staged', or start with an MPI built for CUDA"
            )
    if asked == "staged" or not all(found.aware for found in verdicts):
        return "staged"
    return "device"


def rating(aware: bool | None) -> int:
    """Order verdicts: no, unknown, yes."""
    return 1 if aware is None else 2 * aware


def weigh(answers: Iterable[Answer]) -> Verdict:
    """Return the first answer there is, with what all sources have said.

    >>> weigh([(None, "a is silent"), (False, "b says no"), (True, "c says yes")])
    Verdict(aware=False, reasons=('a is silent', 'b says no', 'c says yes'))
    """
    found = list(answers)
    known = [answer for answer, _ in found if answer is not None]
    return Verdict(known[0] if known else None, tuple(reason for _, reason in found))


def of_library(maps: str = mapped.MAPS) -> Iterator[Answer]:
    """Ask the mapped MPI library; yield an answer for each function it has."""
    try:
        paths = [path for kind, path in mapped.paths(maps) if kind == "mpi"]
        library = mapped.opened(paths[0]) if paths else None
    except OSError as error:
        yield None, f"the MPI library cannot be asked: {error}"
        return
    if library is None:
        yield None, f"no MPI library in {maps}"
    else:
        yield from of_functions(library)


def of_functions(library: Any) -> Iterator[Answer]:
    """Call the functions that an MPI library has for the question."""
    silent = True
    if hasattr(library, "MPIX_Query_cuda_support"):
        answer = int(library.MPIX_Query_cuda_support())
        yield bool(answer), f"MPIX_Query_cuda_support() is {answer}"
        silent = False
    if hasattr(library, "MPIX_GPU_query_support"):
        supported = ctypes.c_int(0)
        failed = library.MPIX_GPU_query_support(CUDA, ctypes.byref(supported))
        name = "MPIX_GPU_query_support(CUDA)"
        if failed:
            yield None, f"{name} failed with code {failed}"
        else:
            yield bool(supported.value), f"{name} is {supported.value}"
        silent = False
    if silent:
        yield None, "the library has no function that tells"


def of_info(mpi: Any) -> Iterator[Answer]:
    """Read the kinds of memory that a communicator says it supports."""
    try:
        info = mpi.Get_info()
        kinds = info.Get(KINDS)
        info.Free()
    except Exception as error:  # a verdict is no reason to fail
        yield None, f"{KINDS}: {error}"
        return
    if kinds is not None:
        # a kind may be restricted, as in "cuda:device"
        names = {kind.strip().partition(":")[0] for kind in kinds.split(",")}
        yield "cuda" in names, f"{KINDS} is {kinds}"


def of_hints(environment: Mapping[str, str], library: str) -> Iterator[Answer]:
    """Read what the environment asks of this library."""
    for variable, vendor in HINTS.items():
        if variable in environment and vendor in library.upper():
            value = environment[variable]
            yield value.strip().lower() not in OFF, f"{variable}={value}"
