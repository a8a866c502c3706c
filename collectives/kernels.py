"""Kernels: the local arithmetic of `collectives.ops`, on device arrays of CuPy.

They go to the current stream.  Half types are computed in float32 and rounded once, to
nearest even, as on the host.  bfloat16, which CuPy lacks, is stored as words.
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
BFLOAT16 = r"""
__device__ float widen(unsigned short x) {
    return __uint_as_float((unsigned int)x << 16);
}
__device__ unsigned short narrow(float x) {
    unsigned int bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
"""


def combine(op: str, dtype: DType, target: Any, left: Any, right: Any) -> None:
    """Set ``target`` to ``left op right``."""
    if dtype.name == "bfloat16":
        words = "float a = widen(x), b = widen(y); z = narrow(" + WORDS[op] + ")"
        kernel("uint16 x, uint16 y", "uint16 z", words, f"bfloat16_{op}")(
            left, right, target
        )
    else:
        getattr(library(), UFUNCS[op])(left, right, out=target)


def scale(dtype: DType, data: Any, factor: float) -> None:
    """Multiply in place."""
    if dtype.name == "bfloat16":
        words = "y = narrow(widen(x) * f)"
        made = kernel("uint16 x, float32 f", "uint16 y", words, "bfloat16_scale")
    elif dtype.name == "float16":
        words = "y = (float16)((float)x * f)"
        made = kernel("float16 x, float32 f", "float16 y", words, "float16_scale")
    else:
        library().multiply(data, dtype.storage.type(factor), out=data)
        return
    made(data, factor, data)


def convert(source: DType, data: Any, dtype: DType, target: Any) -> None:
    """Copy into ``target``, rounding to nearest even."""
    if source.name == "bfloat16" and dtype.name != "bfloat16":
        words = "y = (T)widen(x)"
        kernel("uint16 x", "T y", words, "from_bfloat16")(data, target)
    elif dtype.name == "bfloat16" and source.name != "bfloat16":
        words = "y = narrow((float)x)"
        kernel("T x", "uint16 y", words, "to_bfloat16")(data, target)
    else:
        target[:] = data


@lru_cache
def kernel(inputs: str, output: str, words: str, name: str) -> Any:
    """Return an elementwise kernel, compiled when it is first used."""
    return library().ElementwiseKernel(inputs, output, words, name, preamble=BFLOAT16)
