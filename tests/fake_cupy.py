"""A stand-in for CuPy whose memory becomes valid only when its stream gets there.

What is put on a stream does not happen at once: `Gpu.run` lets streams go on in a
random order, a little at a time, as far as events allow.  Every access to memory, by a
stream, by the host, or by MPI on behalf of the host, has to be ordered after the writes
it needs, and writes after all accesses before: by the order of a stream, by an event
that another stream waits for, or by an event that the host has seen.  `Race` tells
otherwise, whether or not this run would have got the right bytes.

The bookkeeping is that of a race detector: who does something has a clock, a count for
each party; an event carries a clock to whom waits for it.
"""

import ctypes
import random
import sys
import threading
import time
import types
import weakref
from functools import partial
from itertools import count

import numpy as np

from collectives import ops
from collectives.arrays import DTYPES

HOST = 0  # the party that is no stream

__all__ = ["Gpu", "Race", "install"]


class Race(AssertionError):
    """Two accesses to the same bytes that nothing orders."""


class Gpu:
    """One device: its streams, what is waiting on them, and who may touch what."""

    def __init__(self, seed=0, *, lazy=0.5):
        self.random, self.lazy = random.Random(seed), lazy
        self.lock = threading.RLock()
        self.numbers = count(1)
        self.streams = []
        self.host = {}  # the host's clock
        self.touched = {}  # base address: list of accesses
        self.pinned = {}  # address: array
        self.memories = weakref.WeakSet()
        self.pool = {}  # stream, bytes: what was allocated there and dropped
        self.default = Stream(self)

    def at(self, address, size, dtype):
        """Return the elements that a pointer means."""
        for memory in self.memories:
            start = address - memory.address
            if 0 <= start < max(1, memory.bytes.nbytes):
                return ndarray((size,), dtype, MemoryPointer(memory, start))
        raise AssertionError(f"{address:#x} is not in device memory")

    def run(self):
        """Let some streams go on."""
        with self.lock:
            for stream in self.random.sample(self.streams, len(self.streams)):
                while stream.queue and self.random.random() < self.lazy:
                    if not stream.step():
                        break

    def finish(self, stream):
        """Let all go on until a stream is empty."""
        with self.lock:
            while stream.queue:
                if not any([other.step() for other in self.streams]):
                    raise AssertionError("the streams wait for each other for ever")

    def access(self, who, clock, memory, start, stop, *, write, what):
        """Note an access of bytes; raise if an earlier one is not ordered before it."""
        if start == stop:
            return
        accesses = self.touched.setdefault(memory, [])
        mine = clock.get(who, 0)
        for party, when, first, last, wrote, how in accesses:
            if first >= stop or start >= last or not (write or wrote):
                continue
            if clock.get(party, 0) < when:
                raise Race(
                    f"{what} of bytes {start} to {stop} by {name(who)} is not ordered "
                    f"after {how} of bytes {first} to {last} by {name(party)}"
                )
        if write:  # ordered after all it overlaps: those say nothing more
            accesses[:] = [
                a for a in accesses if a[2] < start or a[3] > stop or a[3] <= start
            ]
        accesses.append((who, mine, start, stop, write, what))

    def by_host(self, memory, start, stop, *, write, what):
        """Note an access by the host, now."""
        with self.lock:
            self.host[HOST] = self.host.get(HOST, 0) + 1
            self.access(HOST, self.host, memory, start, stop, write=write, what=what)


def name(who):
    return "the host" if who == HOST else f"stream {who}"


def merge(clock, other):
    for party, when in other.items():
        clock[party] = max(clock.get(party, 0), when)


class Stream:
    """Operations in order; each begins when those before have ended."""

    current = threading.local()

    def __init__(self, gpu=None, *, non_blocking=False):
        self.gpu = gpu or Gpu.made
        self.number = next(self.gpu.numbers)
        self.queue, self.clock, self.entered = [], {}, []
        self.ptr = self.number
        with self.gpu.lock:
            self.gpu.streams.append(self)

    def put(self, do, accesses=(), waits=None):
        """Queue ``do()``; it happens when `step` gets there."""
        with self.gpu.lock:
            self.queue.append((do, tuple(accesses), dict(self.gpu.host), waits))
        self.gpu.run()

    def step(self):
        """Do the next operation; say whether one was done."""
        if not self.queue:
            return False
        do, accesses, since, waits = self.queue[0]
        if waits is not None and not waits.reached:
            return False
        del self.queue[0]
        merge(self.clock, since)  # what the host had seen when it queued this
        if waits is not None:
            merge(self.clock, waits.clock)
        self.clock[self.number] = self.clock.get(self.number, 0) + 1
        for memory, start, stop, write, what in accesses:
            self.gpu.access(
                self.number, self.clock, memory, start, stop, write=write, what=what
            )
        do()
        return True

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        mark = event.mark
        if mark is not None:
            self.put(lambda: None, waits=mark)

    @property
    def done(self):
        self.gpu.run()
        with self.gpu.lock:
            if self.queue:
                return False
            merge(self.gpu.host, self.clock)
            return True

    def synchronize(self):
        self.gpu.finish(self)
        merge(self.gpu.host, self.clock)

    def __enter__(self):
        self.entered.append(getattr(Stream.current, "stream", None))
        Stream.current.stream = self
        return self

    def __exit__(self, *exc):
        Stream.current.stream = self.entered.pop()


class Mark:
    """A place in a stream: whether the stream has passed it, and its clock there."""

    def __init__(self):
        self.reached, self.clock, self.when = False, {}, 0.0


class Event:
    """What streams and the host wait for."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.mark, self.timing = None, not disable_timing

    def record(self, stream=None):
        stream = stream or get_current_stream()
        self.gpu, mark = stream.gpu, Mark()
        self.mark = mark

        def reach():
            mark.reached, mark.clock = True, dict(stream.clock)
            mark.when = time.perf_counter()

        stream.put(reach)

    @property
    def done(self):
        if self.mark is None:
            return True
        self.gpu.run()
        with self.gpu.lock:
            if self.mark.reached:
                merge(self.gpu.host, self.mark.clock)
            return self.mark.reached


def get_elapsed_time(start, end):
    """Return the milliseconds between two events that have come."""
    assert start.timing and end.timing and start.mark.reached and end.mark.reached
    return (end.mark.when - start.mark.when) * 1e3


class Device:
    """One of the process's GPUs, which are all alike here."""

    current = 0

    def __init__(self, id=None):
        self.id = Device.current if id is None else id
        self.pci_bus_id = f"0000:{self.id:02x}:00.0"

    def use(self):
        Device.current = self.id

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


def get_current_stream(device_id=None):
    return getattr(Stream.current, "stream", None) or Gpu.made.default


class MemoryPointer:
    """An address in device memory; copies to and from the host."""

    def __init__(self, mem, offset):
        self.mem, self.offset, self.ptr = mem, offset, mem.address + offset

    def bytes(self, nbytes):
        return self.mem.bytes[self.offset : self.offset + nbytes]

    def span(self, nbytes):
        return self.mem.address, self.offset, self.offset + nbytes

    def copy_from_host_async(self, address, nbytes, stream=None):
        host, start = self.mem.gpu.find(address)
        target = self.bytes(nbytes)

        def do():
            target[:] = host[start : start + nbytes]

        (stream or get_current_stream()).put(
            do,
            [
                (id(host), start, start + nbytes, False, "upload from pinned memory"),
                (*self.span(nbytes), True, "upload"),
            ],
        )

    def copy_to_host_async(self, address, nbytes, stream=None):
        host, start = self.mem.gpu.find(address)
        source = self.bytes(nbytes)

        def do():
            host[start : start + nbytes] = source

        (stream or get_current_stream()).put(
            do,
            [
                (*self.span(nbytes), False, "download"),
                (id(host), start, start + nbytes, True, "download to pinned memory"),
            ],
        )


class Memory:
    """What an allocation is; its address is that of nothing real.

    With a ``stream`` it is of the pool: when nobody holds it any more, it is handed out
    again to that stream, with all that is still being done to it.
    """

    addresses = count(1 << 40, 1 << 32)

    def __init__(self, nbytes, stream=None):
        self.gpu = Gpu.made
        self.free = self.gpu.pool.setdefault((stream, nbytes), [])
        if stream is None or not self.free:
            self.bytes = np.full(nbytes, 0xA5, np.uint8)  # garbage
            self.address = next(Memory.addresses)
        else:
            self.bytes, self.address = self.free.pop()
        self.gpu.memories.add(self)

    def __del__(self):
        self.free.append((self.bytes, self.address))


class ndarray:  # noqa: N801 - CuPy's name
    """One-dimensional elements of device memory; slices share it."""

    __array_priority__ = 100
    ndim = 1

    def __init__(self, shape, dtype, memptr):
        (self.size,) = self.shape = shape
        self.dtype, self.data, self.gpu = np.dtype(dtype), memptr, memptr.mem.gpu
        self.device, self.ptr = Device(), memptr.ptr

    @property
    def __cuda_array_interface__(self):
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.ptr, 0)}

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    @property
    def flags(self):
        whole = self.data.offset == 0
        return types.SimpleNamespace(c_contiguous=True, owndata=whole)

    @property
    def base(self):
        return self.data.mem

    def __len__(self):
        return self.size

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def bytes(self):
        return self.data.bytes(self.nbytes)

    def values(self):
        return self.bytes().view(self.dtype)

    def span(self):
        return self.data.span(self.nbytes)

    def __getitem__(self, part):
        start, stop, step = part.indices(self.size)
        assert step == 1
        at = MemoryPointer(
            self.data.mem, self.data.offset + start * self.dtype.itemsize
        )
        return ndarray((max(0, stop - start),), self.dtype, at)

    def __setitem__(self, part, value):
        launch(lambda x: x, [value], self[part], "copy")

    def view(self, dtype):
        dtype = np.dtype(dtype)
        return ndarray((self.nbytes // dtype.itemsize,), dtype, self.data)

    def reshape(self, *shape):
        return self

    ravel = reshape

    def get(self, out=None):
        """Wait for the current stream, and copy to the host."""
        stream = get_current_stream()
        stream.synchronize()
        self.gpu.by_host(*self.span(), write=False, what="get")
        out = np.empty(self.size, self.dtype) if out is None else out
        out[:] = self.values()
        return out

    def set(self, values):
        """Copy from ordinary memory of the host, on the current stream."""
        taken = np.array(values, self.dtype)  # at once: it may change afterwards
        launch(lambda: taken, [], self, "set")


def launch(function, inputs, out, what):
    """Put ``out[:] = function(*inputs)`` on the current stream."""

    # A kernel holds no memory, as little as CUDA does.
    target = out.values()
    given = [x.values() if isinstance(x, ndarray) else x for x in inputs]

    def do():
        with np.errstate(all="ignore"):
            target[...] = function(*map(np.copy, given))

    get_current_stream().put(do, launch_accesses(inputs, out, what))
    return out


def launch_accesses(inputs, out, what):
    """Return what a kernel reads and writes."""
    arrays = [x for x in inputs if isinstance(x, ndarray)]
    found = [(*x.span(), False, f"{what} (reading)") for x in arrays]
    if out is not None:
        found.append((*out.span(), True, f"{what} (writing)"))
    return found


def empty(size, dtype=np.float64):
    size = size[0] if isinstance(size, tuple) else int(size)
    memory = Memory(size * np.dtype(dtype).itemsize, get_current_stream())
    return ndarray((size,), dtype, MemoryPointer(memory, 0))


def asarray(values):
    values = np.asarray(values)
    found = empty(values.size, values.dtype)
    found.set(values.reshape(-1))
    return found


def widen(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


def narrow(x):
    return ops.narrow(DTYPES["bfloat16"], x.astype(np.float32))


UFUNCS = {
    "sum": np.add,
    "prod": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
}


def read(dtype, stored):
    """Return stored elements, one or several in a word, as they are computed."""
    if dtype == "bfloat16":
        return widen(stored.view(np.uint16))
    return stored.view(dtype).astype(np.float32 if dtype == "float16" else dtype)


def write(dtype, values):
    """Return values as they are stored."""
    return narrow(values) if dtype == "bfloat16" else values.astype(dtype)


class ElementwiseKernel:
    """What CuPy would compile; here it is known by its name."""

    def __init__(self, inputs, outputs, operation, name, preamble=""):
        self.name, self.outputs = name, outputs.count(",") + 1

    def __call__(self, *arrays):
        inputs, outputs = arrays[: -self.outputs], arrays[-self.outputs :]
        first, *rest = self.name.split("_")
        if first == "round":
            launch(
                lambda x: write(rest[1], x).view(outputs[0].dtype),
                inputs,
                outputs[0],
                self.name,
            )
            function = partial(read, rest[1])
            return launch(function, outputs[:1], outputs[1], self.name)
        if first in UFUNCS:
            kinds = [kind for kind in rest if kind in DTYPES]
            kinds = [kinds[0], kinds[-1]]

            def function(x, y):
                operands = [read(kinds[0], x), read(kinds[1], y)]
                if rest[-1] == "first":
                    operands.reverse()
                return write(kinds[0], UFUNCS[first](*operands))

        else:
            source, target = (rest[0],) * 2 if first == "scale" else (first, rest[1])

            def function(x, factor=1.0):
                wide = read(source, x)
                return write(target, wide * wide.dtype.type(factor))

        word = outputs[0].dtype
        return launch(lambda *x: function(*x).view(word), inputs, outputs[0], self.name)


def ufunc(function, what):
    def call(*inputs, out=None):
        if out is None:
            out = empty(inputs[0].size, inputs[0].dtype)
        return launch(function, inputs, out, what)

    return call


def alloc_pinned_memory(nbytes):
    """Return page-locked host memory."""
    memory = bytearray(nbytes)
    array = np.frombuffer(memory, np.uint8)
    Gpu.made.pinned[array.ctypes.data] = array
    return memory


def find(self, address):
    address = address.value if isinstance(address, ctypes.c_void_p) else address
    for start, array in self.pinned.items():
        if start <= address < start + array.nbytes:
            return array, address - start
    raise AssertionError(f"{address:#x} is not in pinned memory")


Gpu.find = find


def install(monkeypatch, gpu, devices=1):
    """Have ``import cupy`` find this, with so many devices, all alike."""
    Gpu.made = gpu
    Stream.current.stream, Device.current = None, 0
    module = types.ModuleType("cupy")
    module.ndarray, module.empty, module.asarray = ndarray, empty, asarray
    module.add, module.multiply = ufunc(np.add, "add"), ufunc(np.multiply, "multiply")
    module.minimum = ufunc(np.minimum, "minimum")
    module.maximum = ufunc(np.maximum, "maximum")
    module.ElementwiseKernel = ElementwiseKernel
    module.cuda = types.ModuleType("cupy.cuda")
    module.cuda.Device = Device
    module.cuda.runtime = types.SimpleNamespace(
        getDeviceCount=lambda: devices,
        getDeviceProperties=lambda id: {"name": b"stand-in", "totalGlobalMem": 1 << 30},
        runtimeGetVersion=lambda: 13000,
        driverGetVersion=lambda: 13010,
    )
    module.cuda.get_elapsed_time = get_elapsed_time
    module.__version__ = "0"
    module.cuda.Memory, module.cuda.MemoryPointer = Memory, MemoryPointer
    module.cuda.Stream, module.cuda.Event = Stream, Event
    module.cuda.get_current_stream = get_current_stream
    module.cuda.alloc_pinned_memory = alloc_pinned_memory
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "cupy.cuda", module.cuda)
    return module
