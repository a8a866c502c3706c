"""Kernels: the local arithmetic of `collectives.ops`, on device arrays of CuPy.

They go to the current stream.  Half types are computed in float32 and rounded once, to
nearest even, as on the host; they are stored as words of 16 bits, which need none of
CUDA's headers.  What comes one after the other is one kernel: memory is read and
written once, and by four halves at a time where they lie so.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from .arrays import DType
from .device import library

UFUNCS = {"sum": "add", "prod": "multiply", "min": "minimum", "max": "maximum"}
WORDS = {
    "sum": "a + b",
    "prod": "a * b",
    "min": "a != a ? a : b != b ? b : a < b ? a : b",  # NaN propagates
    "max": "a != a ? a : b != b ? b : a > b ? a : b",
}
C = {"float32": "float", "float64": "double"}
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
FOUR = """z = 0;
for (int at = 0; at < 64; at += 16) z |= (unsigned long long)one({}) << at"""


def combine(op: str, dtype: DType, target: Any, left: Any, right: Any) -> None:
    """Set ``target`` to ``left op right``."""
    if dtype.name not in HALVES:
        getattr(library(), UFUNCS[op])(left, right, out=target)
        return
    a, b = read(dtype, "x"), read(dtype, "y")
    words = f"float a = {a}, b = {b}; return {write(dtype, WORDS[op])};"
    halves(f"{op}_{dtype.name}", words, "xy", [left, right, target], dtype)


def scale(dtype: DType, data: Any, factor: float) -> None:
    """Multiply in place."""
    if dtype.name not in HALVES:
        library().multiply(data, dtype.storage.type(factor), out=data)
        return
    words = f"return {write(dtype, read(dtype, 'x') + ' * f')};"
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
    values = f"{C[dtype.name]} {a} = x, {b} = {read(wire, 'y')}"
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
    value = f"({C[wide]}){read(source, 'x')}"
    name, inputs, given = f"{source.name}_to_{dtype.name}", f"{stored(source)} x", []
    if factor != 1.0:
        value, given = f"{value} * f", [factor]
        name, inputs = f"{name}_scaled", f"{inputs}, {wide} f"
    words, output = f"y = {write(dtype, value)}", f"{stored(dtype)} y"
    made = kernel(name, inputs, output, words, source.name, dtype.name)
    made(as_stored(source, data), *given, as_stored(dtype, target))


def round_both(dtype: DType, data: Any, wire: DType, out: Any) -> None:
    """Round ``data``, float32 or float64, to ``wire`` in ``out``, and in place."""
    words = f"y = {write(wire, 'x')}; z = {read(wire, 'y')}"
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
    return f"write_{dtype.name}({words})" if dtype.name in HALVES else words


@lru_cache
def kernel(name: str, inputs: str, outputs: str, words: str, *needs: str) -> Any:
    """Return an elementwise kernel, compiled when it is first used.

    ``needs``: the types that it reads or writes, and functions of its own.
    """
    before = "".join(HALVES.get(need, "") for need in HALVES if need in needs)
    before += "".join(need for need in needs if need.startswith("__device__"))
    return library().ElementwiseKernel(inputs, outputs, words, name, preamble=before)
