"""Arrays in the memory of `fake_gpu`, as CuPy has them; who uses them tells it."""

import types
from itertools import count

import numpy as np
from fake_gpu import Device, Gpu, get_current_stream


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
        self.gpu, self.device = Gpu.made, Device()
        self.free = self.gpu.pool.setdefault((stream, nbytes), [])
        if stream is None or not self.free:
            self.bytes = np.full(nbytes, 0xA5, np.uint8)  # garbage
            self.address = next(Memory.addresses)
        else:
            self.bytes, self.address = self.free.pop()
        self.gpu.memories.add(self)

    def array(self, start, size, dtype):
        return ndarray((size,), dtype, MemoryPointer(self, start))

    def __del__(self):
        self.free.append((self.bytes, self.address))


def alloc_pinned_memory(nbytes):
    """Return page-locked host memory."""
    memory = bytearray(nbytes)
    array = np.frombuffer(memory, np.uint8)
    Gpu.made.pinned[array.ctypes.data] = array
    return memory


class ndarray:  # noqa: N801 - CuPy's name
    """One-dimensional elements of device memory; slices share it."""

    __array_priority__ = 100
    ndim = 1

    def __init__(self, shape, dtype, memptr):
        (self.size,) = self.shape = shape
        self.dtype, self.data, self.gpu = np.dtype(dtype), memptr, memptr.mem.gpu
        self.device, self.ptr = memptr.mem.device, memptr.ptr

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


def get_attributes(address):
    """Return what CUDA knows of an address."""
    return types.SimpleNamespace(device=Gpu.made.at(address, 0, np.uint8).device.id)


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
    """Share what has the interface if it lies on the current device; else copy."""
    if hasattr(values, "__cuda_array_interface__"):
        about = values.__cuda_array_interface__
        (size,), dtype = about["shape"], np.dtype(about["typestr"])
        found = Gpu.made.at(about["data"][0], size, dtype)
        if found.device.id == Device().id:
            return found
        copy = empty(size, dtype)
        copy[:] = found
        return copy
    values = np.asarray(values)
    found = empty(values.size, values.dtype)
    found.set(values.reshape(-1))
    return found
