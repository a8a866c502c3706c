"""A stand-in for CuPy, on a GPU that tells which accesses nothing orders."""

import sys
import types

import numpy as np
from fake_arrays import (
    Memory,
    MemoryPointer,
    alloc_pinned_memory,
    asarray,
    empty,
    get_attributes,
    ndarray,
)
from fake_gpu import (
    Device,
    Event,
    Gpu,
    Race,
    Stream,
    get_current_stream,
    get_elapsed_time,
)
from fake_kernels import ElementwiseKernel, ufunc

from collectives import kernels

__all__ = ["Gpu", "Race", "install"]


def install(monkeypatch, gpu, devices=1):
    """Have ``import cupy`` find this, with so many devices, all alike."""
    kernels.kernel.cache_clear()  # of an earlier GPU
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
        pointerGetAttributes=get_attributes,
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
