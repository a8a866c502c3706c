"""Kernels on `fake_arrays`, as CuPy has them, known by their names."""

from functools import partial

import numpy as np
from fake_arrays import empty, launch

from collectives import ops
from collectives.arrays import DTYPES


def widen(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


def narrow(x):
    return ops.narrow(DTYPES["bfloat16"], x)


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
