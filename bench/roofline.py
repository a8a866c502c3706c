"""Roofline: the share of what the memory of one node allows an allreduce.

An allreduce of S bytes on p ranks has to read every input and to write every result:
p S bytes in and p S bytes out, whatever the algorithm.  A *pass* is the least work with
that traffic: all ranks at the same time read S bytes of their own memory and write S
bytes, without a word to each other,

    in place       a += 1
    out of place   b = a, or b = a + 1, whichever is quicker

in NumPy.  Cache lines that are fetched only to be overwritten cost the pass what they
cost the machine.  Passes take turns with the contenders, so both see the same memory:

    roof = time of a pass / time of the allreduce, in percent

It says something only where data does not stay in the caches.  McCalpin's STREAM asks
for arrays of four times the caches (comment in its stream.c, cs.virginia.edu/stream);
here the inputs of all ranks together have to be that long.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BEYOND = 4  # times the last-level caches
CPUS = Path("/sys/devices/system/cpu")
Pass = tuple[Callable[[], Any], np.ndarray]  # a call, and the buffer it writes


class Roofline(NamedTuple):
    """From how many bytes of a rank on memory is the limit, None: never; and why."""

    least: int | None
    text: str

    def passes(self, nbytes: int, *, in_place: bool) -> list[Pass]:
        """Return the passes over ``nbytes`` to time; none where they say nothing."""
        if self.least is None or nbytes < self.least:
            return []
        a, one = np.ones(-(-nbytes // 4), np.float32), np.float32(1)
        if in_place:
            return [(partial(np.add, a, one, out=a), a)]
        b = a.copy()
        return [(partial(np.copyto, b, a), b), (partial(np.add, a, one, out=b), b)]


UNKNOWN = Roofline(None, "not measured")
ON_GPU = Roofline(None, "none on GPUs: python -m bench.device measures their limits")


def find(mpi: Any) -> Roofline:
    """Find out, on all ranks of an mpi4py communicator, where memory is the limit."""
    from mpi4py import MPI

    node = mpi.Split_type(MPI.COMM_TYPE_SHARED)
    together = node.size == mpi.size  # the same on all ranks
    node.Free()
    if not together:
        return Roofline(None, "none, the ranks do not share one memory")
    return judge(mpi.size, mpi.bcast(cache_nbytes()))


def judge(ranks: int, cache: int | None) -> Roofline:
    """Return the roofline of ranks on a node with that many bytes of cache."""
    if ranks == 1:
        return Roofline(None, "none, one rank has nothing to reduce")
    if not cache:
        return Roofline(None, f"none, {CPUS} does not tell the caches")
    least = -(-BEYOND * cache // ranks)
    why = f"{BEYOND} x {cache} bytes of cache / {ranks} ranks"
    text = (
        f"time of a pass of all ranks over memory / time, from {least} bytes on: {why}"
    )
    return Roofline(least, text)


def cache_nbytes(cpus: Path = CPUS) -> int | None:
    """Return the bytes of all last-level caches of this node, None if not known."""
    caches: dict[tuple[int, str], int] = {}
    try:
        for cpu in cpus.glob("cpu[0-9]*"):
            last = max(cpu.glob("cache/index[0-9]*"), key=level, default=None)
            if last is not None:
                shared = (last / "shared_cpu_list").read_text("ascii").strip()
                caches[level(last), shared] = kibibytes(last / "size") << 10
    except (OSError, ValueError):
        return None
    return sum(caches.values()) or None


def level(cache: Path) -> int:
    """Return the level of a cache: 1 is nearest to the core."""
    return int((cache / "level").read_text("ascii"))


def kibibytes(path: Path) -> int:
    """Read a size as Linux writes it: ``32768K``."""
    return int(path.read_text("ascii").strip().removesuffix("K"))
