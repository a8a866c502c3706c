"""Probe: two ranks send each other real buffers, in a job that may die of it.

    mpiexec -n 2 python -m collectives.doctor.probe report --memory cupy

`collectives.doctor.contained` starts it.  Every rank appends lines of JSON to the
report, one before it sends a buffer and one when it has compared what came; so the
report of a job that has crashed still says which buffer it died of.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import gpu
from ..abort import abort_on_exception

MEMORIES = ("host", "cupy", "torch")
SIZES = 16, 1 << 12, 1 << 16, 1 << 20  # bytes; MPI sends short and long ones otherwise
TAG = 1


class Memory(NamedTuple):
    """How bytes get into a kind of memory, when they are there, and how out of it."""

    put: Callable[[np.ndarray], Any]
    ready: Callable[[], Any]
    get: Callable[[Any], np.ndarray]


def memory(name: str) -> Memory:
    """Return host memory, or that of this rank's device, by the package that has it."""
    if name == "cupy":
        import cupy

        number = (gpu.local_rank() or 0) % cupy.cuda.runtime.getDeviceCount()
        device = cupy.cuda.Device(number)
        device.use()
        return Memory(cupy.asarray, device.synchronize, cupy.asnumpy)
    if name == "torch":
        import torch

        torch.cuda.set_device((gpu.local_rank() or 0) % torch.cuda.device_count())
        return Memory(
            lambda data: torch.from_numpy(data).cuda(),
            torch.cuda.synchronize,
            lambda data: data.cpu().numpy(),
        )
    return Memory(np.copy, lambda: None, np.asarray)


def sizes(most: int) -> list[int]:
    """Return the bytes of the buffers, short to long.

    >>> sizes(100_000)
    [16, 4096, 65536, 100000]
    """
    return sorted({size for size in SIZES if size < most} | {most})


def pattern(rank: int, nbytes: int) -> np.ndarray:
    """Return what a rank sends: it differs between ranks, and between neighbours."""
    return ((np.arange(nbytes) * 7 + 31 * rank + 1) % 251).astype(np.uint8)


class Report(NamedTuple):
    """The file that the ranks append to."""

    path: str

    def tell(self, **fields: Any) -> None:
        """Append a line, at once and whole."""
        with open(self.path, "ab", buffering=0) as file:
            file.write((json.dumps(fields) + "\n").encode())


def run(report: Report, kind: str, most: int) -> None:
    """Send buffers of all sizes to the other rank, and compare what comes."""
    where = memory(kind)  # a device is chosen before MPI begins, as some libraries ask
    where.put(pattern(0, 1))
    where.ready()
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rank, other = world.rank, 1 - world.rank
    for nbytes in sizes(most):
        send, recv = where.put(pattern(rank, nbytes)), where.put(pattern(9, nbytes))
        where.ready()
        report.tell(state="sends", rank=rank, nbytes=nbytes)
        requests = [
            world.Irecv([recv, nbytes, MPI.BYTE], other, TAG),
            world.Isend([send, nbytes, MPI.BYTE], other, TAG),
        ]
        MPI.Request.Waitall(requests)
        right = np.array_equal(where.get(recv), pattern(other, nbytes))
        report.tell(state="right" if right else "wrong", rank=rank, nbytes=nbytes)
    report.tell(state="ends", rank=rank)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m collectives.doctor.probe",
        description="Send real buffers between two ranks (started by the doctor).",
    )
    parser.add_argument("report", help="file to append lines of JSON to")
    parser.add_argument("--memory", choices=MEMORIES, default="host")
    parser.add_argument("--max-bytes", type=int, default=4 << 20)
    options = parser.parse_args(arguments)
    abort_on_exception()
    report = Report(options.report)
    try:
        run(report, options.memory, options.max_bytes)
    except Exception as error:
        report.tell(state="failed", text=f"{type(error).__name__}: {error}")
        raise
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
