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
    ILLEGAL_ADDRESS,
    CUDARuntimeError,
    Current,
    Device,
    Event,
    Gpu,
    Race,
    Stream,
    event_query,
    get_current_stream,
    get_elapsed_time,
)
from fake_kernels import ElementwiseKernel, ufunc

from collectives import kernels

__all__ = ["ILLEGAL_ADDRESS", "Gpu", "Race", "install"]


def without_compiler(patch):
    """Have no kernel compiled any more, as without NVRTC."""

    class Kernel:
        def __init__(self, *words, **more):
            pass

        def __call__(self, *arrays):
            raise RuntimeError("no NVRTC\nwherever one looks")

    patch.setattr(sys.modules["cupy"], "ElementwiseKernel", Kernel)
    kernels.kernel.cache_clear()


def install(monkeypatch, gpu, devices=1):
    """Have ``import cupy`` find this, with so many devices, all alike."""
    kernels.kernel.cache_clear()  # of an earlier GPU
    Gpu.made = gpu
    Stream.current, Device.current.id = Current(), 0
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
        eventQuery=event_query,
        CUDARuntimeError=CUDARuntimeError,
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
