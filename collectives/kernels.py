"""Kernels: the local arithmetic of `collectives.ops`, on device arrays of CuPy.

They go to the current stream.  Half types are computed in float32 and rounded once, to
nearest even, as on the host.  bfloat16, which CuPy lacks, is stored as words.  What
comes one after the other is one kernel: memory is read and written once.
"""

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
READ = {"bfloat16": "widen({})", "float16": "(float){}"}
WRITE = {"bfloat16": "narrow({})", "float16": "half_of({})"}
C = {"float32": "float", "float64": "double"}
PREAMBLE = r"""
__device__ float widen(unsigned short x) {
    return __uint_as_float((unsigned int)x << 16);
}
__device__ unsigned short narrow(float x) {
    unsigned int bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
__device__ float16 half_of(float x) { return float16(x); }
__device__ float16 half_of(double x) {  // an odd last bit keeps it from rounding twice
    float cut = __double2float_rz(x);
    if ((double)cut != x) cut = __uint_as_float(__float_as_uint(cut) | 1);
    return float16(cut);
}
"""


def combine(op: str, dtype: DType, target: Any, left: Any, right: Any) -> None:
    """Set ``target`` to ``left op right``."""
    if dtype.name != "bfloat16":
        getattr(library(), UFUNCS[op])(left, right, out=target)
        return
    words = f"float a = widen(x), b = widen(y); z = narrow({WORDS[op]})"
    kernel(f"{op}_bfloat16", "uint16 x, uint16 y", "uint16 z", words)(
        left, right, target
    )


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
    kernel(name, inputs, f"{dtype.name} z", words)(target, data, target)


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
    words = f"y = {write(dtype, value)}"
    kernel(name, inputs, f"{stored(dtype)} y", words)(data, *given, target)


def scale(dtype: DType, data: Any, factor: float) -> None:
    """Multiply in place."""
    convert(dtype, data, dtype, data, factor)


def round_both(dtype: DType, data: Any, wire: DType, out: Any) -> None:
    """Round ``data``, float32 or float64, to ``wire`` in ``out``, and in place."""
    words = f"y = {write(wire, 'x')}; z = {read(wire, 'y')}"
    name, outputs = f"round_{dtype.name}_{wire.name}", f"{stored(wire)} y"
    kernel(name, f"{dtype.name} x", f"{outputs}, {dtype.name} z", words)(
        data, out, data
    )


def stored(dtype: DType) -> str:
    """Return the type as CuPy knows it."""
    return "uint16" if dtype.name == "bfloat16" else dtype.name


def read(dtype: DType, name: str) -> str:
    """Return the words for the value of a stored element."""
    return READ.get(dtype.name, "{}").format(name)


def write(dtype: DType, words: str) -> str:
    """Return the words that make a value an element to store."""
    return WRITE[dtype.name].format(words) if dtype.name in WRITE else words


@lru_cache
def kernel(name: str, inputs: str, outputs: str, words: str) -> Any:
    """Return an elementwise kernel, compiled when it is first used."""
    return library().ElementwiseKernel(inputs, outputs, words, name, preamble=PREAMBLE)
