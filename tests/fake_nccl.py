"""A stand-in for CuPy's NCCL, with NCCL's rules, for ranks that share this process.

The k-th call of a communicator meets the k-th call of its other ranks, and has to be
the same there.  It runs when it is at the head of its stream on all of them, and holds
that stream up until then: calls in different orders wait for ever.
"""

import sys
import types
from itertools import count

import numpy as np
from fake_cupy import Gpu, launch_accesses, merge

TYPES = {
    f"NCCL_{name.upper()}": np.dtype(name)
    for name in "int8 uint8 int32 uint32 int64 uint64 float16 float32 float64".split()
}
TYPES["NCCL_BFLOAT16"] = "bfloat16"
OPS = {
    "NCCL_SUM": np.add,
    "NCCL_PROD": np.multiply,
    "NCCL_MIN": np.minimum,
    "NCCL_MAX": np.maximum,
}


class Call(types.SimpleNamespace):
    """What one rank asks for; addresses are its own."""

    def same(self):
        return self.kind, self.count, self.dtype, self.op, self.root


class Meeting:
    """The k-th launch of a communicator: what streams wait for."""

    def __init__(self, size):
        self.size, self.calls, self.streams = size, {}, {}
        self.ran, self.clock, self.gone = False, {}, False

    @property
    def reached(self):
        if self.ran:
            return True
        if len(self.calls) < self.size or self.gone:
            return False
        for stream in self.streams.values():
            if not stream.queue or stream.queue[0][3] is not self:
                return False
        for stream in self.streams.values():
            merge(self.clock, stream.clock)
        self.run()
        self.ran = True
        return True

    def run(self):
        ranks = range(self.size)
        for calls in zip(*(self.calls[rank] for rank in ranks), strict=True):
            kind, n, dtype, op, root = calls[0].same()
            given = [call.send.values().copy() for call in calls]
            if op is not None:
                total = given[0]
                for other in given[1:]:
                    with np.errstate(all="ignore"):
                        total = op(total, other)
            for rank, call in enumerate(calls):
                if kind == "allReduce" or (kind == "reduce" and rank == root):
                    call.recv.values()[...] = total
                elif kind == "bcast":
                    call.recv.values()[...] = given[root]
                elif kind == "reduceScatter":
                    call.recv.values()[...] = total[rank * n : (rank + 1) * n]
                elif kind == "allGather":
                    call.recv.values()[...] = np.concatenate(given)


def install(monkeypatch, gpu):
    """Have ``cupy.cuda.nccl`` be this."""
    module = types.ModuleType("cupy.cuda.nccl")
    ids, meetings, group = count(1), {}, []
    state = types.SimpleNamespace(open=0)

    def get_unique_id():
        number = next(ids) % 128
        return (number,) * 128

    class NcclCommunicator:
        def __init__(self, size, unique, rank):
            self.size, self.unique, self.rank = size, unique, rank
            self.launched, self.aborted = 0, False

        def check_async_error(self):
            pass

        def abort(self):
            self.aborted = True

        destroy = abort

        def call(self, kind, send, recv, n, dtype, op, root, stream):
            elements = {"reduceScatter": (n * self.size, n)}
            elements["allGather"] = n, n * self.size
            sends, receives = elements.get(kind, (n, n))
            group.append(
                (
                    self,
                    stream,
                    Call(
                        kind=kind,
                        count=n,
                        dtype=dtype,
                        op=op,
                        root=root,
                        send=gpu.at(send, sends, dtype),
                        recv=gpu.at(recv, receives, dtype),
                    ),
                )
            )
            if not state.open:
                launch()

        def allReduce(self, send, recv, n, dtype, op, stream):  # noqa: N802
            self.call("allReduce", send, recv, n, dtype, op, None, stream)

        def reduce(self, send, recv, n, dtype, op, root, stream):
            self.call("reduce", send, recv, n, dtype, op, root, stream)

        def bcast(self, at, n, dtype, root, stream):
            self.call("bcast", at, at, n, dtype, None, root, stream)

        def reduceScatter(self, send, recv, n, dtype, op, stream):  # noqa: N802
            self.call("reduceScatter", send, recv, n, dtype, op, None, stream)

        def allGather(self, send, recv, n, dtype, stream):  # noqa: N802
            self.call("allGather", send, recv, n, dtype, None, None, stream)

    def launch():
        comm, number, _ = group[0]
        assert all(one[:2] == (comm, number) for one in group), "one communicator"
        calls = [call for _, _, call in group]
        group.clear()
        assert not comm.aborted, "this communicator has been aborted"
        key = comm.unique, comm.launched
        comm.launched += 1
        meeting = meetings.setdefault(key, Meeting(comm.size))
        for rank, theirs in meeting.calls.items():
            mine = [call.same() for call in calls]
            assert [call.same() for call in theirs] == mine, (
                f"NCCL launch {key[1]}: rank {rank} and {comm.rank} differ"
            )
        stream = next(s for s in gpu.streams if s.ptr == number)
        meeting.calls[comm.rank], meeting.streams[comm.rank] = calls, stream
        accesses = []
        for call in calls:
            is_root = call.root in (None, comm.rank)
            if call.kind != "bcast" or is_root:
                accesses += launch_accesses([call.send], None, f"NCCL {call.kind}")
            if (
                call.kind not in ("reduce", "bcast")
                or (call.kind == "bcast") != is_root
            ):
                accesses += launch_accesses([], call.recv, f"NCCL {call.kind}")
        stream.put(lambda: None, accesses, waits=meeting)

    def group_start():
        state.open += 1

    def group_end():
        state.open -= 1
        if group:
            launch()

    module.available = True
    module.get_unique_id, module.NcclCommunicator = get_unique_id, NcclCommunicator
    module.groupStart, module.groupEnd = group_start, group_end
    for name, value in (TYPES | OPS).items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", module)
    sys.modules["cupy"].cuda.nccl = module
    assert Gpu.made is gpu
    return module
