"""A stand-in for libnccl, with NCCL's rules, for ranks that share this process.

The k-th call of a communicator meets the k-th call of its other ranks, and has to be
the same there.  It runs when it is at the head of its stream on all of them, and holds
that stream up until then, or until its communicator is aborted: calls in different
orders wait for ever.  Joining waits for all ranks.  Data is in registered memory on all
ranks of a call, at the same offset, or on none.
"""

import sys
import threading
import types
from functools import reduce

import fake_cupy
import numpy as np
from fake_arrays import launch_accesses
from fake_gpu import merge
from fake_kernels import narrow, widen

DTYPES = [*map(np.dtype, "i1 u1 i4 u4 i8 u8 f2 f4 f8 u2".split())]  # of nccl.h
FLOAT32 = 7
BFLOAT16 = np.dtype("u2")
OPS = {0: "sum", 1: "prod", 2: "max", 3: "min"}
UFUNCS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
REMOTE, IN_PROGRESS = 6, 7
VERSION = 23004


class Call(types.SimpleNamespace):
    """What one rank asks for; addresses are its own."""

    def same(self):
        return self.kind, self.count, self.dtype, self.op, self.root

    def receive(self, given, rank):
        """Write what ``rank`` gets of what all have given."""
        out, n = self.recv.values(), self.count
        if self.kind == "allgather":
            out[...] = np.concatenate(given)
        elif self.kind == "broadcast":
            out[...] = given[self.root]
        elif self.kind == "reduce_scatter":
            out[...] = self.total(given)[rank * n : (rank + 1) * n]
        elif self.kind == "allreduce" or rank == self.root:
            out[...] = self.total(given)

    def total(self, given):
        combine, half = UFUNCS[OPS[self.op]], self.dtype == BFLOAT16
        with np.errstate(all="ignore"):
            total = reduce(combine, map(widen, given) if half else given)
        return narrow(total) if half else total


class Meeting:
    """The k-th launch of a communicator."""

    def __init__(self, size, stuck):
        self.size, self.calls, self.streams = size, {}, {}
        self.ran, self.stuck, self.clock = False, stuck, {}

    @property
    def reached(self):
        if self.ran:
            return True
        if len(self.calls) < self.size or self.stuck:
            return False
        for stream in self.streams.values():
            head = stream.queue and stream.queue[0][3]
            if not isinstance(head, Turn) or head.meeting is not self:
                return False
        for stream in self.streams.values():
            merge(self.clock, stream.clock)
        self.run()
        self.ran = True
        return True

    def run(self):
        ranks = sorted(self.calls)
        for calls in zip(*(self.calls[rank] for rank in ranks), strict=True):
            given = [call.send.values().copy() for call in calls]
            for rank, call in zip(ranks, calls, strict=True):
                call.receive(given, rank)


class Turn:
    """What a rank's stream waits for: the meeting, or the end of its own part."""

    def __init__(self, meeting, member):
        self.meeting, self.member = meeting, member

    @property
    def reached(self):
        return self.member.aborted or self.meeting.reached

    @property
    def clock(self):
        return self.meeting.clock


class Library:
    """libnccl, its communicators and its memory."""

    def __init__(self, gpu):
        self.gpu, self.ids, self.open = gpu, 0, 0
        self.joined, self.meetings = {}, {}
        self.members, self.memory, self.batch = [], {}, []
        self.aborts, self.stuck_after = 0, None
        self.alone = False  # the other ranks are elsewhere, and seem to come at once
        self.changed = threading.Condition()

    def unique_id(self):
        self.ids += 1
        return self.ids.to_bytes(2, "little") * 64

    def join(self, size, unique, rank):
        with self.changed:
            here = self.joined.setdefault(bytes(unique), {})
            assert rank not in here, "a rank joins twice"
            member = here[rank] = Member(self, size, bytes(unique), rank)
            self.members.append(member)
            self.changed.notify_all()
        return member

    def complete(self, member):
        return self.alone or len(self.joined[member.unique]) == member.size

    def call(self, member, kind, send, recv, n, dtype, op, root, stream):
        assert not member.aborted, "this communicator has been aborted"
        sends = n * member.size if kind == "reduce_scatter" else n
        receives = n * member.size if kind == "allgather" else n
        at, dtype = self.gpu.at, DTYPES[dtype]
        member.check_registered(send if sends >= receives else recv)
        call = Call(kind=kind, count=n, dtype=dtype, op=op, root=root)
        call.send, call.recv = at(send, sends, dtype), at(recv, receives, dtype)
        self.batch.append((member, stream, call))
        if not self.open:
            self.launch()

    def meeting(self, member, stuck):
        return Meeting(1 if self.alone else member.size, stuck)

    def launch(self):
        if not self.batch:
            return
        batch, self.batch = self.batch, []
        member, number, _ = batch[0]
        assert all(one[:2] == (member, number) for one in batch), "one communicator"
        calls = [call for _, _, call in batch]
        key = member.unique, member.launched
        member.launched += 1
        stuck = self.stuck_after is not None and key[1] >= self.stuck_after
        meeting = self.meetings.setdefault(key, self.meeting(member, stuck))
        for rank, theirs in meeting.calls.items():
            mine = [call.same() for call in calls]
            assert [call.same() for call in theirs] == mine, (
                f"NCCL launch {key[1]}: rank {rank} and {member.rank} differ"
            )
        stream = next(s for s in self.gpu.streams if s.ptr == number)
        meeting.calls[member.rank], meeting.streams[member.rank] = calls, stream
        accesses = []
        for call in calls:
            is_root = call.root in (None, member.rank)
            if call.kind != "broadcast" or is_root:
                accesses += launch_accesses([call.send], None, f"NCCL {call.kind}")
            if (
                call.kind not in ("reduce", "broadcast")
                or (call.kind == "broadcast") != is_root
            ):
                accesses += launch_accesses([], call.recv, f"NCCL {call.kind}")
        stream.put(lambda: None, accesses, waits=Turn(meeting, member))

    # What is called through ctypes; an argument by reference has it as ``_obj``.

    def ncclMemAlloc(self, address, nbytes):  # noqa: N802
        memory = fake_cupy.Memory(nbytes.value)
        self.memory[memory.address] = memory
        address._obj.value = memory.address
        return 0

    def ncclMemFree(self, address):  # noqa: N802
        for member in self.members:
            assert address.value not in member.registered, "still registered"
        del self.memory[address.value]
        return 0

    def ncclCommRegister(self, comm, address, nbytes, handle):  # noqa: N802
        member = self.members[comm.value - 1]
        assert self.memory[address.value].bytes.nbytes == nbytes.value
        member.registered[address.value] = nbytes.value
        handle._obj.value = address.value
        return 0

    def ncclCommDeregister(self, comm, handle):  # noqa: N802
        del self.members[comm.value - 1].registered[handle.value]
        return 0


class Member:
    """One rank's part of a communicator."""

    def __init__(self, library, size, unique, rank):
        self.library, self.size, self.unique, self.rank = library, size, unique, rank
        self.launched, self.status, self.aborted = 0, 0, False
        self.registered, self.places = {}, []

    def check_registered(self, address):
        """Note where the data lies; all ranks must say the same of their k-th call."""
        place = None
        for start, nbytes in self.registered.items():
            if start <= address < start + nbytes:
                place = address - start
        k = len(self.places)
        self.places.append(place)
        for other in self.library.joined[self.unique].values():
            if len(other.places) > k:
                assert other.places[k] == place, "registered memory mixed with other"

    def abort(self):
        self.aborted = True
        self.library.aborts += 1
        self.registered.clear()

    def destroy(self):
        self.aborted = True
        self.registered.clear()


class UnownedMemory:
    """Memory that CuPy has not allocated."""

    def __init__(self, address, nbytes, owner, device):
        library = sys.modules["cupy"].cuda.nccl_library
        memory = library.memory[address]
        self.gpu, self.bytes, self.address = memory.gpu, memory.bytes, address
        self.owner, self.device = owner, memory.device
