"""Meta: the circumstances of a measurement, without which its numbers say nothing."""

import os
import platform
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import collectives
from collectives import host


def describe(
    options: Any,
    layout: str,
    left_out: dict[str, str],
    command: Sequence[str],
    *,
    mpi: bool = True,
) -> dict[str, Any]:
    """Return command, date, layout of the ranks, hardware, versions and options.

    ``left_out`` tells why algorithms that were asked for do not take part.  Where
    ``options.device`` is ``cuda``, it describes the current GPU too.  ``mpi``: whether
    MPI takes part; what does not need it must not load it.
    """
    hardware: dict[str, Any] = {"cpu": host.processor(), "cores": os.cpu_count()}
    found = versions(mpi=mpi)
    if getattr(options, "device", "cpu") == "cuda":
        hardware |= graphics()
        found |= cuda_versions()
    return {
        "command": shlex.join(command),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "layout": layout,
        "hardware": hardware,
        "versions": found,
        "time": "median over iterations of the slowest rank's time from a barrier",
        "left_out": left_out,
        "options": asdict(options),
    }


def versions(*, mpi: bool = True) -> dict[str, str]:
    """Return the versions of what takes part; torch's where it is loaded."""
    found = {
        "collectives": collectives.__version__,
        "python": platform.python_version(),
        "numpy": installed("numpy"),
    }
    if mpi:
        found |= {"mpi4py": installed("mpi4py"), "mpi": host.library()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = str(torch.__version__)
        found["torch threads"] = str(torch.get_num_threads())
    return found


def graphics() -> dict[str, Any]:
    """Return name and bytes of the current GPU, and how many this process can see."""
    import cupy

    runtime = cupy.cuda.runtime
    about = runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "gpu": about["name"].decode(),
        "gpu memory": about["totalGlobalMem"],
        "gpus": runtime.getDeviceCount(),
    }


def cuda_versions() -> dict[str, str]:
    """Return the versions of what drives the GPU; torch has a CUDA and NCCL apart."""
    import cupy

    runtime = cupy.cuda.runtime
    found = {
        "cupy": str(cupy.__version__),
        "cuda driver": decimal(runtime.driverGetVersion()),
        "cuda runtime": decimal(runtime.runtimeGetVersion()),
    }
    with warnings.catch_warnings(), suppress(ImportError):
        warnings.simplefilter("ignore")  # CuPy warns where there is none
        from cupy.cuda import nccl

        if nccl.available:
            code = nccl.get_version()
            found["nccl"] = f"{code // 10000}.{code // 100 % 100}.{code % 100}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.version.cuda is not None:
        found["torch cuda"] = str(torch.version.cuda)
        if torch.cuda.is_available() and torch.distributed.is_nccl_available():
            found["torch nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
    return found


def decimal(code: int) -> str:
    """Return a version as CUDA encodes it.

    >>> decimal(12090), decimal(13000)
    ('12.9', '13.0')
    """
    return f"{code // 1000}.{code // 10 % 100}"


def installed(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
