"""Arrays: what the caller passed, as flat elements of a known type.

Every array is classified here, and nothing foreign is handed to MPI: a transport sees
bytes only.  A bfloat16 tensor given to mpi4py directly is summed as bytes by one MPI
and refused by another.
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import device
from .errors import InvalidArgument, ShapeMismatch, UnsupportedArray


class DType(NamedTuple):
    """An element type: its name, NumPy's storage type, and its significant bits."""

    name: str
    storage: np.dtype  # bfloat16 is stored as uint16
    bits: int  # of the significand; 0 for integers

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return self.storage.itemsize

    @property
    def floating(self) -> bool:
        """Whether elements are floating-point numbers."""
        return self.bits > 0


DTYPES = {
    name: DType(name, np.dtype(storage), bits)
    for name, storage, bits in (
        ("float16", np.float16, 11),
        ("bfloat16", np.uint16, 8),
        ("float32", np.float32, 24),
        ("float64", np.float64, 53),
        ("int8", np.int8, 0),
        ("int16", np.int16, 0),
        ("int32", np.int32, 0),
        ("int64", np.int64, 0),
        ("uint8", np.uint8, 0),
        ("uint16", np.uint16, 0),
        ("uint32", np.uint32, 0),
        ("uint64", np.uint64, 0),
    )
}


class Array(NamedTuple):
    """A caller's array: flat storage that shares its memory (or is a packed copy)."""

    data: Any  # one dimension, of dtype.storage; NumPy's, or CuPy's on a device
    dtype: DType
    shape: tuple[int, ...]
    wrap: Callable[[np.ndarray, tuple[int, ...]], Any]  # flat storage -> caller's kind

    @property
    def host(self) -> bool:
        """Whether it lies in the memory of the host."""
        return isinstance(self.data, np.ndarray)

    def empty(self, count: int) -> Any:
        """Return new flat storage of ``count`` elements beside this one, to keep."""
        if self.host:
            return np.empty(count, self.data.dtype)
        return device.empty(count, self.data.dtype)

    def like(self, data: Any, shape: tuple[int, ...]) -> "Array":
        """Return other flat storage as an array of the same type and kind."""
        return self._replace(data=data, shape=shape)

    @property
    def value(self) -> Any:
        """The array as the caller's kind, sharing memory."""
        return self.wrap(self.data, self.shape)


def dtype_named(name: str, what: str = "dtype") -> DType:
    """Return a type by name.

    Raises:
        InvalidArgument: no such type; the message lists them.
    """
    if name not in DTYPES:
        raise InvalidArgument(f"{what} {name!r}: choose from {', '.join(DTYPES)}")
    return DTYPES[name]


def as_array(x: Any, *, writable: bool = False, what: str = "x") -> Array:
    """Classify ``x``: an array of NumPy or CuPy, a tensor of torch, or a buffer.

    Input that is not contiguous is packed; with ``writable`` it is refused, because the
    result could not be seen through a copy.

    Raises:
        UnsupportedArray: the kind, device, type, layout or byte order cannot be used.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return from_tensor(torch, x, writable, what)
    if device.on_device(x):
        return from_device(x, writable, what)
    if writable and isinstance(x, np.generic):
        raise UnsupportedArray(
            f"{what}: the result goes here, but a NumPy scalar ({type(x).__name__}) "
            "cannot change; pass an array, numpy.asarray(x)"
        )
    if isinstance(x, np.ndarray | np.generic):
        return from_numpy(np.asarray(x), writable, what)
    try:
        view = np.asarray(memoryview(x))
    except (TypeError, ValueError):
        raise UnsupportedArray(
            f"{what}: got {type(x).__name__}; expected a NumPy array, a torch CPU "
            "tensor or an object with a buffer (numpy.asarray makes one of a list)"
        ) from None
    return from_numpy(view, writable, what)


def from_numpy(x: np.ndarray, writable: bool, what: str) -> Array:
    """Classify a NumPy array; ml_dtypes' bfloat16 is known by its name."""
    dtype = known(x.dtype)
    if dtype is None:
        raise UnsupportedArray(
            f"{what}: dtype {x.dtype} ({x.dtype.str}); expected, in native byte order, "
            f"one of {', '.join(DTYPES)}"
        )
    if writable and not (x.flags.c_contiguous and x.flags.writeable):
        state = "read-only" if x.flags.c_contiguous else "not contiguous"
        raise UnsupportedArray(
            f"{what}: the result goes here, but the array is {state}; pass a writable "
            "C-contiguous array, or none to get a new one"
        )
    kind = x.dtype

    def wrap(data: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return data.view(kind).reshape(shape)

    data = np.ascontiguousarray(x).reshape(-1).view(dtype.storage)
    return Array(data, dtype, x.shape, wrap)


@lru_cache
def known(kind: np.dtype) -> DType | None:
    """Return our type of a NumPy dtype in native byte order, None if we have none."""
    return DTYPES.get(kind.name) if kind.isnative else None


def from_tensor(torch: Any, x: Any, writable: bool, what: str) -> Array:
    """Classify a torch tensor; autograd does not see what is written."""
    name = str(x.dtype).removeprefix("torch.")
    places = "cpu", "cuda"
    if (
        name not in DTYPES
        or x.device.type not in places
        or x.layout is not torch.strided
    ):
        raise UnsupportedArray(
            f"{what}: a {name} tensor on {x.device}, layout {x.layout}; expected a "
            f"strided CPU or CUDA tensor of {', '.join(DTYPES)}"
        )
    apart = not x.is_contiguous() and (writable or x.device.type == "cuda")
    if x.is_conj() or x.is_neg() or apart:
        raise UnsupportedArray(
            f"{what}: a tensor with strides {tuple(x.stride())} that is not contiguous "
            "(or a lazy conjugate or negative); pass x.contiguous()"
        )
    dtype = DTYPES[name]

    def wrap(data: np.ndarray, shape: tuple[int, ...]) -> Any:
        flat = torch.from_numpy(data)
        return (flat.view(torch.bfloat16) if name == "bfloat16" else flat).view(shape)

    flat = x.detach().contiguous().view(-1)
    if x.device.type == "cuda":
        words = flat.view(torch.uint8)

        def back(data: Any, shape: tuple[int, ...]) -> Any:
            words = device.to_torch(torch, data.view(np.uint8), x.device)
            return words.view(x.dtype).view(shape)

        data = device.flat(words, dtype.storage)
        return Array(data, dtype, tuple(x.shape), back)
    data = (flat.view(torch.uint16) if name == "bfloat16" else flat).numpy()
    return Array(data, dtype, tuple(x.shape), wrap)


def from_device(x: Any, writable: bool, what: str) -> Array:
    """Classify a CuPy array, or what has the CUDA array interface.

    Raises:
        UnsupportedArray: its type or layout cannot be used, or CuPy is missing.
    """
    array = device.array(x)
    dtype = known(np.dtype(array.dtype))
    if dtype is None or not array.flags.c_contiguous:
        raise UnsupportedArray(
            f"{what}: a device array of {array.dtype}, strides {array.strides}; "
            f"expected a C-contiguous one of {', '.join(DTYPES)}"
        )
    if writable and x.__cuda_array_interface__["data"][1]:
        raise UnsupportedArray(
            f"{what}: the result goes here, but the device array is read-only; pass a "
            "writable one, or none to get a new one"
        )
    kind = array.dtype

    def wrap(data: Any, shape: tuple[int, ...]) -> Any:
        return data.view(kind).reshape(shape)

    return Array(device.flat(array, dtype.storage), dtype, tuple(array.shape), wrap)


def temporary(x: Any, count: int, storage: np.dtype) -> Any:
    """Return new flat storage where ``x`` lies, for no longer than the operation.

    On a device it is of our stream, the current one, and waits for no other.
    """
    if isinstance(x, np.ndarray):
        return np.empty(count, storage)
    return device.library().empty(count, storage)


def same_memory(x: Any, y: Any) -> bool:
    """Say whether two flat arrays begin at the same address."""
    return x is y or address(x) == address(y)


def address(x: Any) -> int:
    """Return where flat storage begins."""
    return int(x.ctypes.data if isinstance(x, np.ndarray) else x.data.ptr)


def overlap(x: Any, y: Any) -> bool:
    """Say whether two flat arrays share memory."""
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return bool(np.may_share_memory(x, y))
    a, b = address(x), address(y)
    return bool(a < b + y.nbytes and b < a + x.nbytes)


def output_for(x: Array, out: Any) -> Array:
    """Return where the result goes: ``out``, or new memory like ``x``.

    Raises:
        ShapeMismatch: ``out`` has another count or type than ``x``.
        UnsupportedArray: ``out`` cannot be written, or overlaps ``x`` without being it.
    """
    if out is None:
        return x.like(x.empty(x.data.size), x.shape)
    result = as_array(out, writable=True, what="out")
    if (result.data.size, result.dtype) != (x.data.size, x.dtype):
        raise ShapeMismatch(
            f"out has {result.data.size} elements of {result.dtype.name}, the "
            f"result has {x.data.size} of {x.dtype.name}"
        )
    if result.host != x.host:
        raise UnsupportedArray(
            "out and input: one lies on a device, the other on the host; pass both of "
            "a kind"
        )
    if not x.host and (there := device.number(result.data)) != device.number(x.data):
        raise UnsupportedArray(
            f"out lies on GPU {there}, the input on GPU {device.number(x.data)}; pass "
            "both of one GPU"
        )
    if not same_memory(result.data, x.data) and overlap(result.data, x.data):
        raise UnsupportedArray(
            "out overlaps the input without being the same memory; pass "
            "out=x to work in place, or separate memory"
        )
    return result


def wider(a: DType, b: DType) -> DType:
    """Return the type that holds both floating-point types: float32 for the halves.

    >>> wider(DTYPES["float16"], DTYPES["bfloat16"]).name
    'float32'
    """
    if a == b:
        return a
    if {a.name, b.name} == {"float16", "bfloat16"}:
        return DTYPES["float32"]
    return max(a, b, key=lambda dtype: dtype.itemsize)
