"""Bindings: the Python packages that can call NCCL, and which one is taken.

``nccl4py`` is taken where it is installed, since its communicators can be given up
while they are being made; else CuPy's own binding.  ``COLLECTIVES_NCCL`` names one.
Ranks may take different ones: what has to agree is the version of the library.
Types and operations have the numbers of nccl.h, which never change.
"""

import os
from collections.abc import Callable

from ..errors import UnsupportedArray
from . import by_cupy, by_nccl4py
from .binding import Binding

TYPES = {
    "int8": 0,
    "uint8": 1,
    "int32": 2,
    "uint32": 3,
    "int64": 4,
    "uint64": 5,
    "float16": 6,
    "float32": 7,
    "float64": 8,
    "bfloat16": 9,
}
OPS = {"sum": 0, "prod": 1, "max": 2, "min": 3}
LOADERS: dict[str, Callable[[], Binding]] = {
    "nccl4py": by_nccl4py.load,
    "cupy": by_cupy.load,
}
VARIABLE = "COLLECTIVES_NCCL"


def find() -> Binding:
    """Return the binding to use.

    Raises:
        UnsupportedArray: none can be used, or not the one that was asked for.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked and asked not in LOADERS:
        raise UnsupportedArray(
            f"{VARIABLE}={asked}: choose from {', '.join(LOADERS)}, or unset it"
        )
    lacks = []
    for name in [asked] if asked else LOADERS:
        try:
            binding = LOADERS[name]()
            binding.version()
        except UnsupportedArray as error:
            lacks.append(str(error))
        except Exception as error:  # a package that is broken is none
            lacks.append(f"{name}: {type(error).__name__}: {error}")
        else:
            return binding
    raise UnsupportedArray(lacks[-1])
