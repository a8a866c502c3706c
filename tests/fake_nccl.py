"""The packages that call NCCL, as they are in Python: they call `fake_libnccl`."""

import sys
import types

import fake_cupy
from fake_gpu import check_status
from fake_libnccl import IN_PROGRESS, REMOTE, VERSION, Library, UnownedMemory


def cupy_module(library):
    """Return what ``cupy.cuda.nccl`` is in CuPy 14."""

    class NcclError(RuntimeError):
        def __init__(self, status):
            if status > REMOTE:
                raise KeyError(status)  # so it does
            self.status = status
            super().__init__(f"NCCL_ERROR_{status}: unhandled")

    class NcclCommunicator:
        def __init__(self, size, unique, rank):
            assert type(unique) is bytes
            self.member = library.join(size, unique, rank)
            while not library.complete(self.member):  # blocks until all have come
                with library.changed:
                    library.changed.wait(0.01)  # other processes do not notify
            self.comm = library.members.index(self.member) + 1

        def check_async_error(self):
            if self.member.status:
                raise NcclError(self.member.status)

        def abort(self):
            self.member.abort()

        def destroy(self):
            self.member.destroy()

        def call(self, *arguments):
            library.call(self.member, *arguments)

        def allReduce(self, send, recv, n, dtype, op, stream):  # noqa: N802
            self.call("allreduce", send, recv, n, dtype, op, None, stream)

        def reduce(self, send, recv, n, dtype, op, root, stream):
            self.call("reduce", send, recv, n, dtype, op, root, stream)

        def broadcast(self, send, recv, n, dtype, root, stream):
            self.call("broadcast", send, recv, n, dtype, None, root, stream)

        def reduceScatter(self, send, recv, n, dtype, op, stream):  # noqa: N802
            self.call("reduce_scatter", send, recv, n, dtype, op, None, stream)

        def allGather(self, send, recv, n, dtype, stream):  # noqa: N802
            self.call("allgather", send, recv, n, dtype, None, None, stream)

    module = types.ModuleType("cupy.cuda.nccl")
    module.available = True
    module.NcclError, module.NcclCommunicator = NcclError, NcclCommunicator
    module.get_unique_id, module.get_version = library.unique_id, lambda: VERSION
    module.groupStart, module.groupEnd = grouping(library)
    return module


def nccl4py_module(library):
    """Return what ``nccl.bindings.nccl`` is; calls are launched some looks later."""

    class NCCLError(Exception):
        def __init__(self, status):
            self.status = status
            super().__init__(f"Error ({status})")

    class Comm:
        def __init__(self, member):
            self.member, self.handle = member, library.members.index(member) + 1
            self.waiting, self.later = 2, []

    def config():
        return types.SimpleNamespace(blocking=1, ptr=1)

    def comm_init_rank_config(size, unique, rank, config):
        assert type(unique) is bytearray and config == 1
        return Comm(library.join(size, unique, rank))

    def comm_get_async_error(comm):
        if comm.member.status:
            return comm.member.status
        if not library.complete(comm.member):
            return IN_PROGRESS
        if comm.waiting:
            comm.waiting -= 1
            return IN_PROGRESS
        later, comm.later = comm.later, []
        if later:
            library.open += 1
            for arguments in later:
                library.call(comm.member, *arguments)
            library.open -= 1
            library.launch()
        return 0

    grouped = []

    def put(comm, *arguments):
        more = grouped and comm.later
        assert more or comm.waiting == 0, "the last call is still in progress"
        comm.later.append(arguments)
        comm.waiting = 2

    def all_reduce(send, recv, n, dtype, op, comm, stream):
        put(comm, "allreduce", send, recv, n, dtype, op, None, stream)

    def reduce(send, recv, n, dtype, op, root, comm, stream):
        put(comm, "reduce", send, recv, n, dtype, op, root, stream)

    def broadcast(send, recv, n, dtype, root, comm, stream):
        put(comm, "broadcast", send, recv, n, dtype, None, root, stream)

    def reduce_scatter(send, recv, n, dtype, op, comm, stream):
        put(comm, "reduce_scatter", send, recv, n, dtype, op, None, stream)

    def all_gather(send, recv, n, dtype, comm, stream):
        put(comm, "allgather", send, recv, n, dtype, None, None, stream)

    def check_status(status):
        if status not in (0, IN_PROGRESS):
            raise NCCLError(status)

    module = types.ModuleType("nccl.bindings.nccl")
    module.NCCLError, module.Comm, module.Config = NCCLError, Comm, config
    module.comm_init_rank_config = comm_init_rank_config
    module.comm_get_async_error = comm_get_async_error
    module.comm_abort = lambda comm: comm.member.abort()
    module.comm_destroy = lambda comm: comm.member.destroy()
    module.get_unique_id, module.get_version = library.unique_id, lambda: VERSION
    module.group_start = lambda: grouped.append(1)
    module.group_end = lambda: grouped.pop()
    for function in (all_reduce, reduce, broadcast, reduce_scatter, all_gather):
        setattr(module, function.__name__, function)
    module.check_status = check_status
    return module


def grouping(library):
    def start():
        library.open += 1

    def end():
        library.open -= 1
        if not library.open:
            library.launch()

    return start, end


def install(monkeypatch, gpu, binding="cupy", library=None):
    """Have a package call this; return the library."""
    from collectives.transports import registered

    library = library or Library(gpu)
    cuda = sys.modules["cupy"].cuda
    sys.modules["cupy"].__version__ = "14.2.0"
    cuda.nccl_library, cuda.UnownedMemory = library, UnownedMemory
    monkeypatch.setattr(
        fake_cupy.Device,
        "synchronize",
        lambda self: check_status(gpu.error),
        raising=False,
    )
    monkeypatch.setenv("COLLECTIVES_NCCL", binding)
    monkeypatch.setattr(registered, "nccl_library", lambda: library)
    if binding == "cupy":
        cuda.nccl = cupy_module(library)
        monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", cuda.nccl)
    else:
        package, bindings = types.ModuleType("nccl"), types.ModuleType("nccl.bindings")
        package.bindings, bindings.nccl = bindings, nccl4py_module(library)
        monkeypatch.setitem(sys.modules, "nccl", package)
        monkeypatch.setitem(sys.modules, "nccl.bindings", bindings)
        monkeypatch.setitem(sys.modules, "nccl.bindings.nccl", bindings.nccl)
    return library
