"""The kernels of a GPU are valid CUDA: NVIDIA's compiler takes them, without a GPU."""

import ctypes
import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from collectives import kernels
from collectives.arrays import DTYPES
from collectives.ops import OPS

FLOATS = [DTYPES[name] for name in ("float16", "bfloat16", "float32", "float64")]
WIDENED = [(a, b) for a in FLOATS for b in FLOATS[2:] if a.itemsize < b.itemsize]
C = {
    "float32": "float",
    "float64": "double",
    "uint16": "unsigned short",
    "uint64": "unsigned long long",
}
# CuPy, too, has x, y and z refer to the elements of arrays, and f be a number.
SOURCE = """{preamble}
extern "C" __global__ void {name}({parameters}) {{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    {elements}
    {operation};
}}
"""


@pytest.fixture(scope="module")
def compiler():
    """Return NVIDIA's run-time compiler, a library of its own."""
    found = importlib.util.find_spec("nvidia.cuda_nvrtc") if has_nvidia() else None
    if found is None:
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")
    (folder,) = found.submodule_search_locations
    return ctypes.CDLL(str(Path(folder, "lib", "libnvrtc.so.12")))


def has_nvidia():
    return importlib.util.find_spec("nvidia") is not None


def compiled(compiler, source):
    """Compile with CuPy's option; return the instructions, or what is wrong."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    compiler.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
    )
    options = (ctypes.c_char_p * 2)(b"-arch=sm_75", b"-ftz=true")
    failed = compiler.nvrtcCompileProgram(program, 2, options)
    kind = "ProgramLog" if failed else "PTX"
    getattr(compiler, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(compiler, f"nvrtcGet{kind}")(program, text)
    return text.value.decode()


class Array:
    """Memory that nobody looks at."""

    def __init__(self, nbytes):
        self.nbytes, self.data = nbytes, SimpleNamespace(ptr=0)

    def view(self, dtype):
        return self


@pytest.fixture
def written(monkeypatch):
    """Return the sources of all kernels that are made."""
    sources = {}

    def elementwise(inputs, outputs, operation, name, preamble=""):
        parameters, elements = [], []
        for kind, names in (("const ", inputs), ("", outputs)):
            for dtype, x in (pair.split() for pair in names.split(", ")):
                if x == "f":
                    parameters.append(f"{C[dtype]} f")
                    continue
                parameters.append(f"{kind}{C[dtype]} *{x}_")
                elements.append(f"{kind}{C[dtype]} &{x} = {x}_[i];")
        assert name not in sources
        sources[name] = (
            operation,
            SOURCE.format(
                name=name,
                preamble=preamble,
                parameters=", ".join(parameters),
                elements=" ".join(elements),
                operation=operation,
            ),
        )
        return lambda *arrays: None

    def ufunc(*arrays, out):
        pass

    cupy = dict.fromkeys([*kernels.UFUNCS.values()], ufunc)
    cupy = SimpleNamespace(ElementwiseKernel=elementwise, **cupy)
    monkeypatch.setattr(kernels, "library", lambda: cupy)
    kernels.kernel.cache_clear()
    yield sources
    kernels.kernel.cache_clear()


@pytest.fixture
def every(written):
    """Return operation and source of every kernel."""
    for nbytes in (8, 6):  # four halves at a time, or one
        x, y = Array(nbytes), Array(nbytes)
        for dtype in FLOATS:
            kernels.scale(dtype, x, 0.5)
            for op in OPS:
                if op != "mean":
                    kernels.combine(op, dtype, x, x, y)
    for wire, wide in WIDENED:
        kernels.round_both(wide, x, wire, y)
        for op in OPS:
            for first in (True, False):
                if op != "mean":
                    kernels.combine_wire(op, wide, x, wire, y, first)
    for source in FLOATS:
        for target in FLOATS:
            for factor in (1.0, 0.5):
                if (source, factor) != (target, 1.0):
                    kernels.convert(source, x, target, y, factor)
    assert len(written) > 80
    return written


def test_every_kernel_compiles(compiler, every):
    for name, (_, source) in every.items():
        assert ".entry" in compiled(compiler, source), name


def test_small_numbers_are_not_taken_for_zero(compiler, every):
    for name, (_, source) in every.items():
        assert ".ftz" not in compiled(compiler, source), name


def test_outputs_may_be_inputs(every):
    # After the first assignment no input is read, and nothing is assigned again.
    for name, (operation, _) in every.items():
        before, first, after = re.split(r"\b([yz]) = ", operation + ";", maxsplit=1)
        assert "for" not in after and not re.search(r"\b[yz] \S?=", before), name
        _, _, later = after.partition(";")
        inputs = "xy" if first == "z" else "x"
        assert not re.search(rf"\b[{inputs}]\b|\b{first} \S?=", later), name


def test_what_is_no_cuda_is_found_out(compiler):
    assert "error" in compiled(compiler, "__global__ void f(float16 *x) {}")
