"""Registered: device memory that NCCL moves without copying it first.

ncclMemAlloc allocates it, since NCCL 2.19; ncclCommRegister makes it known to a
communicator.  Neither binding of Python has both, so they are called in the libnccl
that this process has mapped.

NCCL demands that in a call either all ranks pass registered memory or none does, at the
same offset (NCCL user guide, "User Buffer Registration"); else anything may happen.  So
the ranks of a group tell each other which memory a call is in, and register it when
they agree.  Memory that they have once mixed with other is never registered again.
"""

import ctypes
import logging
import os
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from .. import mapped
from ..device import Queue, library

log = logging.getLogger("collectives")

LEAST = 1 << 20  # bytes: to agree takes longer than to copy fewer
FUNCTIONS = ("ncclMemAlloc", "ncclMemFree", "ncclCommRegister", "ncclCommDeregister")
ELSEWHERE = -1  # the number of memory that is none of ours


class Block(NamedTuple):
    """Memory of ncclMemAlloc; the k-th that was asked for, on all ranks."""

    address: int
    nbytes: int
    number: int


class Place(NamedTuple):
    """Where a call's data lies: the number of a block, and bytes from its start."""

    number: int
    offset: int


class Owner:
    """Lives as long as the arrays in a block do."""


class Registered:
    """The memory that an engine has allocated, and where it is registered.

    ``members`` are the engine's communicators, by group.
    """

    def __init__(self, queue: Queue, rank: int, members: dict[Any, Any]) -> None:
        """Begin with none; ``rank`` 0 tells what is missing."""
        self.queue, self.rank, self.members = queue, rank, members
        self.library = nccl_library()
        self.asked = 0  # how often memory was, the same number on all ranks
        self.blocks: list[Block] = []  # by address
        self.dropped: deque[Block] = deque()  # whose arrays are gone
        self.closed = False
        self.handles: dict[tuple[Any, int], int] = {}  # by group and block
        self.mixed: set[tuple[Any, int]] = set()
        self.met: set[Any] = set()  # groups whose ranks have once agreed on a block

    def empty(self, nbytes: int) -> Any:
        """Return new memory as a CuPy array of bytes, or None: take ordinary memory.

        All ranks call it in the same order.  Memory whose arrays are gone is freed.
        """
        number, self.asked = self.asked, self.asked + 1
        if self.library is None:
            if self.rank == 0 and number == 0:
                log.info("device memory is not registered: NCCL has no function for it")
            return None
        self.collect()
        address = ctypes.c_void_p()
        if nbytes:
            with self.queue.gpu:
                self.library.ncclMemAlloc(
                    ctypes.byref(address), ctypes.c_size_t(nbytes)
                )
        if not address.value:
            return None
        block = Block(address.value, nbytes, number)
        self.blocks.append(block)
        self.blocks.sort()
        return self.array(block)

    def array(self, block: Block) -> Any:
        """Return a block as an array, and note when nobody has it any more."""
        owner, cuda = Owner(), self.queue.cuda
        weakref.finalize(owner, self.drop, block).atexit = False
        memory = cuda.UnownedMemory(
            block.address, block.nbytes, owner, self.queue.number
        )
        pointer = cuda.MemoryPointer(memory, 0)
        return library().ndarray((block.nbytes,), np.uint8, pointer)

    def concerns(self, group: Any, nbytes: int) -> bool:
        """Say whether the group has to agree on where a call's data lies.

        It is the same on all ranks of the group: it depends on what they have told
        each other.  What is registered does not: each drops its arrays when it likes.
        """
        return self.asked > 0 and (nbytes >= LEAST or group in self.met)

    def place(self, address: int, nbytes: int) -> Place:
        """Return where these bytes lie."""
        for block in self.blocks:
            offset = address - block.address
            if 0 <= offset and offset + nbytes <= block.nbytes:
                return Place(block.number, offset)
        return Place(ELSEWHERE, 0)

    def settle(self, group: Any, places: Iterable[Place]) -> None:
        """Register where all ranks' data lies, or nothing of it if they differ.

        ``places`` are those of the group's ranks; no call of theirs is under way.

        Raises:
            RuntimeError: NCCL cannot register.
        """
        different = set(places)
        keys = [(group, place.number) for place in different]
        if len(different) > 1:
            self.mixed.update(keys)
        elif Place(ELSEWHERE, 0) not in different:
            self.met.add(group)
        for block in self.blocks:
            key = group, block.number
            if key in self.mixed:
                self.deregister(key)
            elif key in keys and key not in self.handles:
                self.handles[key] = self.register(self.members[group], block)

    def register(self, member: Any, block: Block) -> int:
        """Make a block known to a communicator; return NCCL's handle."""
        handle = ctypes.c_void_p()
        failed = self.library.ncclCommRegister(
            ctypes.c_void_p(member.handle()),
            ctypes.c_void_p(block.address),
            ctypes.c_size_t(block.nbytes),
            ctypes.byref(handle),
        )
        if failed:
            raise RuntimeError(
                f"ncclCommRegister of {block.nbytes} bytes: NCCL's error {failed}; "
                "NCCL_LOCAL_REGISTER=0 does without"
            )
        return handle.value or 0

    def deregister(self, key: tuple[Any, int]) -> None:
        """Make a block unknown to a communicator again."""
        handle = self.handles.pop(key, 0)
        if handle:  # none where NCCL has been told not to register
            self.library.ncclCommDeregister(
                ctypes.c_void_p(self.members[key[0]].handle()), ctypes.c_void_p(handle)
            )

    def drop(self, block: Block) -> None:
        """Note, on any thread, that nobody has a block's arrays any more.

        Nothing is freed in the midst of a communicator's calls, but after the last.
        """
        self.dropped.append(block)
        if self.closed:
            with suppress(RuntimeError):  # CUDA's error: nobody would hear of it here
                self.collect()

    def collect(self) -> None:
        """Free the memory whose arrays are gone; what still uses it ends before."""
        blocks = []
        with suppress(IndexError):  # other threads may take some, each of them once
            while True:
                blocks.append(self.dropped.popleft())
        if not blocks:
            return
        with self.queue.gpu as gpu:
            gpu.synchronize()
        for block in blocks:
            for key in [key for key in self.handles if key[1] == block.number]:
                self.deregister(key)
            self.blocks.remove(block)
            self.library.ncclMemFree(ctypes.c_void_p(block.address))

    def close(self) -> None:
        """Free all memory but what somebody still has, which is freed when he drops it.

        The communicators are still there.
        """
        for key in list(self.handles):
            self.deregister(key)
        self.closed = True
        self.collect()


def nccl_library() -> Any:
    """Return the library that the process has mapped, if it can register; else None."""
    try:
        paths = {os.path.realpath(p) for kind, p in mapped.paths() if kind == "nccl"}
        if len(paths) != 1:  # of two, who knows which one the binding calls
            return None
        found = mapped.opened(paths.pop())
    except OSError:
        return None
    return found if all(hasattr(found, name) for name in FUNCTIONS) else None
