"""Kernels: the local arithmetic of `collectives.ops`, on device arrays of CuPy.

They go to the current stream.  Half types are computed in float32 and rounded once, to
nearest even, as on the host; they are stored as words of 16 bits, which need none of
CUDA's headers.  What comes one after the other is one kernel: memory is read and
written once, and by four halves at a time where they lie so.

An output may be an input's memory, and CuPy has both names refer to the element there:
so a kernel assigns an output once, when it has read all.  CuPy has float32 numbers
below 2**-126 taken for zero (``-ftz=true``); instructions that are written out do not.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from .arrays import DTYPES, DType
from .device import EXTRAS, library
from .errors import UnsupportedArray

UFUNCS = {"sum": "add", "prod": "multiply", "min": "minimum", "max": "maximum"}
WORDS = {
    "sum": "plus(a, b)",
    "prod": "times(a, b)",
    "min": "is_nan(a) ? a : is_nan(b) ? b : less(a, b) ? a : b",  # NaN propagates
    "max": "is_nan(a) ? a : is_nan(b) ? b : less(b, a) ? a : b",
}
C = {"float32": "float", "float64": "double"}
ARITHMETIC = r"""
__device__ float plus(float a, float b) {
    float c;
    asm("add.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
}
__device__ float times(float a, float b) {
    float c;
    asm("mul.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
}
__device__ bool less(float a, float b) {
    int c;
    asm("{ .reg .pred p; setp.lt.f32 p, %1, %2; selp.s32 %0, 1, 0, p; }"
        : "=r"(c) : "f"(a), "f"(b));
    return c;
}
__device__ bool is_nan(float a) {
    return (__float_as_uint(a) & 0x7fffffff) > 0x7f800000;
}
__device__ double plus(double a, double b) { return a + b; }
__device__ double times(double a, double b) { return a * b; }
__device__ bool less(double a, double b) { return a < b; }
__device__ bool is_nan(double a) { return a != a; }
__device__ float to_float32(float x) { return x; }
__device__ float to_float32(double x) {
    float y;
    asm("cvt.rn.f32.f64 %0, %1;" : "=f"(y) : "d"(x));
    return y;
}
__device__ double to_float64(double x) { return x; }
__device__ double to_float64(float x) {
    double y;
    asm("cvt.f64.f32 %0, %1;" : "=d"(y) : "f"(x));
    return y;
}
"""
HALVES = {
    "bfloat16": r"""
__device__ float read_bfloat16(unsigned short x) {
    return __uint_as_float((unsigned int)x << 16);
}
__device__ unsigned short write_bfloat16(float x) {
    unsigned int bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
__device__ unsigned short write_bfloat16(double x) {  // see `ops.to_odd`
    float y;
    asm("cvt.rz.f32.f64 %0, %1;" : "=f"(y) : "d"(x));
    unsigned int lost = to_float64(y) != x;
    return write_bfloat16(__uint_as_float(__float_as_uint(y) | lost));
}
""",
    "float16": r"""
__device__ float read_float16(unsigned short x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
__device__ unsigned short write_float16(float x) {
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
__device__ unsigned short write_float16(double x) {
    unsigned short y;
    asm("cvt.rn.f16.f64 %0, %1;" : "=h"(y) : "d"(x));
    return y;
}
""",
}
FOUR = """unsigned long long all = 0;
for (int at = 0; at < 64; at += 16) all |= (unsigned long long)one({}) << at;
z = all"""


def tried() -> None:
    """Compile a kernel, and run it on the current stream.

    CuPy compiles with NVRTC and CUDA's headers, of which its wheels have neither: the
    first kernel would raise in the midst of a collective.

    Raises:
        UnsupportedArray: it cannot be done here.
    """
    float32 = DTYPES["float32"]
    try:
        one = library().empty(1, float32.storage)
        combine("sum", float32, one, one, one)
    except (MemoryError, library().cuda.runtime.CUDARuntimeError) as error:
        raise UnsupportedArray(f"the GPU runs no kernel: {error}") from error
    except Exception as error:  # whatever is missing, and whoever misses it
        first = str(error).strip().partition("\n")[0]
        raise UnsupportedArray(
            f"CuPy cannot compile and run kernels ({type(error).__name__}: {first}); "
            f"NVRTC and CUDA's headers come with {EXTRAS}"
        ) from error


def combine(op: str, dtype: DType, target: Any, left: Any, right: Any) -> None:
    """Set ``target`` to ``left op right``."""
    if dtype.name == "float32":
        inputs, words = "float32 x, float32 y", f"float a = x, b = y; z = {WORDS[op]}"
        kernel(f"{op}_float32", inputs, "float32 z", words)(left, right, target)
        return
    if dtype.name not in HALVES:
        getattr(library(), UFUNCS[op])(left, right, out=target)
        return
    a, b = read(dtype, "x"), read(dtype, "y")
    words = f"float a = {a}, b = {b}; return {write(dtype, WORDS[op])};"
    halves(f"{op}_{dtype.name}", words, "xy", [left, right, target], dtype)


def scale(dtype: DType, data: Any, factor: float) -> None:
    """Multiply in place."""
    if dtype.name not in HALVES:
        convert(dtype, data, dtype, data, factor)
        return
    words = f"return {write(dtype, times(read(dtype, 'x')))};"
    halves(f"scale_{dtype.name}", words, "x", [data, data], dtype, factor)


def halves(
    name: str,
    words: str,
    inputs: str,
    arrays: Sequence[Any],
    dtype: DType,
    factor: float | None = None,
) -> None:
    """Run ``words`` on the halves of input arrays, for those of the output, the last.

    ``inputs`` are the names of an element of each input; ``factor`` is called f.
    """
    given = [] if factor is None else [factor]
    f, float_f, float32_f = (["f"], ["float f"], ["float32 f"]) if given else ([],) * 3
    parameters = ", ".join([*(f"unsigned short {x}" for x in inputs), *float_f])
    one = f"__device__ unsigned short one({parameters}) {{ {words} }}"
    bits, run = 16, f"z = one({', '.join([*inputs, *f])})"
    if all(x.nbytes % 8 == 0 and x.data.ptr % 8 == 0 for x in arrays):
        bits, run = 64, FOUR.format(", ".join([*(f"{x} >> at" for x in inputs), *f]))
    taken = ", ".join([*(f"uint{bits} {x}" for x in inputs), *float32_f])
    *sources, target = (x.view(f"uint{bits}") for x in arrays)
    made = kernel(f"{name}_{bits}", taken, f"uint{bits} z", run, dtype.name, one)
    made(*sources, *given, target)


def combine_wire(
    op: str, dtype: DType, target: Any, wire: DType, data: Any, first: bool
) -> None:
    """Set ``target`` to ``target op data``, or ``data op target``; data are ``wire``.

    ``dtype`` is float32 or float64, and holds all values of ``wire``.
    """
    a, b = "ba" if first else "ab"
    values = f"{C[dtype.name]} {a} = x, {b} = to_{dtype.name}({read(wire, 'y')})"
    words, inputs = f"{values}; z = {WORDS[op]}", f"{dtype.name} x, {stored(wire)} y"
    name = f"{op}_{dtype.name}_{wire.name}{'_first' * first}"
    made = kernel(name, inputs, f"{dtype.name} z", words, wire.name)
    made(target, as_stored(wire, data), target)


def convert(
    source: DType, data: Any, dtype: DType, target: Any, factor: float = 1.0
) -> None:
    """Copy into ``target``, multiplied, rounding to nearest even."""
    if source == dtype and factor == 1.0:
        target[:] = data
        return
    wide = "float64" if "float64" in (source.name, dtype.name) else "float32"
    value = f"to_{wide}({read(source, 'x')})"
    name, inputs, given = f"{source.name}_to_{dtype.name}", f"{stored(source)} x", []
    if factor != 1.0:
        value, given = times(value), [factor]
        name, inputs = f"{name}_scaled", f"{inputs}, {wide} f"
    words, output = f"y = {write(dtype, value)}", f"{stored(dtype)} y"
    made = kernel(name, inputs, output, words, source.name, dtype.name)
    made(as_stored(source, data), *given, as_stored(dtype, target))


def round_both(dtype: DType, data: Any, wire: DType, out: Any) -> None:
    """Round ``data``, float32 or float64, to ``wire`` in ``out``, and in place."""
    words = f"y = {write(wire, 'x')}; z = to_{dtype.name}({read(wire, 'y')})"
    outputs = f"{stored(wire)} y, {dtype.name} z"
    name = f"round_{dtype.name}_{wire.name}"
    made = kernel(name, f"{dtype.name} x", outputs, words, wire.name)
    made(data, as_stored(wire, out), data)


def stored(dtype: DType) -> str:
    """Return the type as kernels take it."""
    return "uint16" if dtype.name in HALVES else dtype.name


def as_stored(dtype: DType, data: Any) -> Any:
    """Return the elements as kernels take them."""
    return data.view("uint16") if dtype.name == "float16" else data


def read(dtype: DType, name: str) -> str:
    """Return the words for the value of a stored element."""
    return f"read_{dtype.name}({name})" if dtype.name in HALVES else name


def write(dtype: DType, words: str) -> str:
    """Return the words that make a value an element to store."""
    if dtype.name in HALVES:  # of float32 and float64, rounded once
        return f"write_{dtype.name}({words})"
    return f"to_{dtype.name}({words})"


def times(words: str) -> str:
    """Return the words for a value times the factor."""
    return f"times({words}, f)"


@lru_cache
def kernel(name: str, inputs: str, outputs: str, words: str, *needs: str) -> Any:
    """Return an elementwise kernel, compiled when it is first used.

    ``needs``: the types that it reads or writes, and functions of its own.
    """
    before = ARITHMETIC + "".join(HALVES[need] for need in HALVES if need in needs)
    before += "".join(need for need in needs if need.startswith("__device__"))
    return library().ElementwiseKernel(inputs, outputs, words, name, preamble=before)
