"""Window: memory that all ranks of a node see, in MPI-3 shared windows.

A *region* is one window, in which every rank has a part of the same length.  Registered
arrays lie in regions of their own; so three numbers, region, offset and rank, say to
any rank of the node where an array lies.  A region whose arrays have been dropped on
all ranks is used again, or freed.
"""

import logging
import os
import weakref
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

log = logging.getLogger("collectives")

SHIFT = 40  # a place is region << SHIFT | offset; no region has an earlier one's
PAGE = 4096
SPARE = 4  # regions that are kept for the next array, at most
PATH = "/dev/shm"

KEPT: list[Any] = []  # windows of closed communicators that are still in use


class Region(NamedTuple):
    """A window, with everybody's part of it as bytes."""

    window: MPI.Win
    parts: list[np.ndarray]
    address: int  # of this rank's part
    nbytes: int  # of each part


class Memory:
    """The shared memory of one node; all its ranks call the same methods together."""

    def __init__(self, node: MPI.Intracomm) -> None:
        """Begin with no region."""
        self.node, self.me = node, node.rank
        self.regions: dict[int, Region] = {}
        self.free: set[int] = set()  # registered arrays that this rank has dropped
        self.numbers = count(1)
        self.found: tuple[int, Region] | None = None  # where an array was seen last

    @property
    def nbytes(self) -> int:
        """Bytes of this rank's parts, together."""
        return sum(region.nbytes for region in self.regions.values())

    def allocate(self, nbytes: int) -> tuple[int, Region]:
        """Add a region of ``nbytes`` for each rank; return its number, too."""
        nbytes = pages(nbytes)
        window = MPI.Win.Allocate_shared(nbytes, 1, comm=self.node)
        parts = []
        for rank in range(self.node.size):
            memory, _ = window.Shared_query(rank)
            parts.append(np.asarray(memory, np.uint8)[:nbytes])
        window.Lock_all()
        # What is not touched is not taken: the next look at the room would miss it.
        parts[self.me][::PAGE] = 0
        self.node.Barrier()
        number = next(self.numbers)
        region = Region(window, parts, parts[self.me].ctypes.data, nbytes)
        self.regions[number] = region
        return number, region

    def empty(self, nbytes: int) -> np.ndarray | None:
        """Return bytes that the node sees, or None where there is no room for them."""
        unused = self.unused()
        fitting = [
            number
            for number in unused
            if nbytes <= self.regions[number].nbytes <= 2 * nbytes + PAGE
        ]
        spare = [number for number in unused if number not in fitting[:1]]
        for number in spare[SPARE:]:
            self.drop(number)
        if fitting:
            number, region = fitting[0], self.regions[fitting[0]]
            self.free.discard(number)
        elif nbytes and room(self.node, pages(nbytes)):
            number, region = self.allocate(nbytes)
            log.debug("registered %d bytes, %d in all", nbytes, self.nbytes)
        else:
            return None
        memory, _ = region.window.Shared_query(self.me)
        whole = np.asarray(memory, np.uint8)  # kept alive by everything made of it
        weakref.finalize(whole, self.free.add, number).atexit = False
        return whole[:nbytes]

    def unused(self) -> list[int]:
        """Return the regions whose arrays all ranks have dropped, in order."""
        free = self.free.copy()  # the collector of garbage may add to it meanwhile
        every: list[set[int]] = self.node.allgather(free)
        return sorted(set.intersection(*every))

    def drop(self, number: int) -> None:
        """Free a region."""
        region = self.regions.pop(number)
        self.free.discard(number)
        self.found = None
        region.parts.clear()
        region.window.Unlock_all()
        region.window.Free()

    def close(self) -> None:
        """Free the regions without registered arrays in use; keep the others."""
        for number in self.unused():
            self.drop(number)
        KEPT.extend(self.regions.values())
        self.regions = {}

    def place(self, data: np.ndarray) -> int:
        """Return where this rank's array lies; 0 if it is not registered."""
        address, nbytes = data.ctypes.data, data.nbytes
        if self.found is not None:
            number, region = self.found
            offset = address - region.address
            if 0 <= offset and offset + nbytes <= region.nbytes:
                return number << SHIFT | offset
        for number, region in self.regions.items():
            offset = address - region.address
            if 0 <= offset and offset + nbytes <= region.nbytes:
                self.found = number, region
                return number << SHIFT | offset
        return 0

    def at(self, rank: int, place: int, like: np.ndarray) -> np.ndarray:
        """Return the array of ``rank`` at a place; it is of the type of ``like``."""
        offset = place & ((1 << SHIFT) - 1)
        part = self.regions[place >> SHIFT].parts[rank]
        return part[offset : offset + like.nbytes].view(like.dtype)


def room(node: MPI.Intracomm, nbytes: int) -> bool:
    """Say, alike on all ranks of the node, whether a region of ``nbytes`` fits.

    More than there is can be allocated, but using it ends the process.
    """
    try:
        state = os.statvfs(PATH)
        free = state.f_bavail * state.f_frsize
    except OSError:
        free = 0
    fits: bool = node.allreduce(nbytes * node.size <= free, MPI.LAND)
    if not fits:
        log.warning(
            "shared memory: %d ranks want %d bytes each, %s has %d free; going on "
            "without (enlarge it: mount -o remount,size=... %s)",
            node.size,
            nbytes,
            PATH,
            free,
            PATH,
        )
    return fits


def pages(nbytes: int) -> int:
    """Return the bytes of whole pages."""
    return -(-nbytes // PAGE) * PAGE
