import array
import sys

import numpy as np
import pytest

from collectives import InvalidArgument, ShapeMismatch, UnsupportedArray
from collectives.arrays import DTYPES, as_array, dtype_named, output_for, wider

NUMPY = [name for name in DTYPES if name != "bfloat16"]


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("name", NUMPY)
def test_a_numpy_array_shares_its_memory(name):
    x = np.arange(6, dtype=name).reshape(2, 3)
    seen = as_array(x, writable=True)
    assert seen.dtype == DTYPES[name] and seen.shape == (2, 3)
    seen.data[4] = 9
    assert x[1, 1] == 9
    np.testing.assert_array_equal(seen.value, x, strict=True)


@pytest.mark.parametrize("name", [*DTYPES])
def test_a_tensor_shares_its_memory(torch, name):
    x = torch.arange(6).to(getattr(torch, name)).view(2, 3)
    seen = as_array(x, writable=True)
    assert seen.dtype == DTYPES[name] and seen.data.dtype == DTYPES[name].storage
    as_array(x).data[4] = as_array(x).data[1]
    assert x[1, 1] == 1
    assert seen.value.dtype == x.dtype and torch.equal(seen.value, x)


def test_a_bfloat16_of_ml_dtypes_is_stored_as_its_bits():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.array([1, -2, 0.5], bfloat16)
    seen = as_array(x)
    assert seen.dtype.name == "bfloat16"
    assert seen.data.tolist() == [0x3F80, 0xC000, 0x3F00]
    assert seen.value.dtype == x.dtype


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_zero_dimensions_and_empty_arrays_keep_their_shape(shape):
    x = np.zeros(shape, np.float32)
    assert as_array(x).data.size == x.size
    assert as_array(x).value.shape == shape


def test_input_that_is_not_contiguous_is_packed_in_c_order(torch):
    x = np.arange(12, dtype=np.int32).reshape(3, 4)
    for view in (x.T, x[:, ::2], x[::-1], np.broadcast_to(x[0], (3, 4))):
        np.testing.assert_array_equal(as_array(view).value, view, strict=True)
    t = torch.from_numpy(x)
    for view in (t.T, t[:, ::2], t[:1].expand(3, 4)):
        assert torch.equal(as_array(view).value, view)


def test_objects_with_a_buffer_are_arrays():
    values = array.array("f", [1, 2, 3])
    as_array(values, writable=True).data[0] = 7
    assert values[0] == 7
    assert as_array(b"ab").data.tolist() == [97, 98]
    assert as_array(np.float32(2.5)).data.tolist() == [2.5]


def test_requires_grad_is_no_obstacle(torch):
    x = torch.ones(3, requires_grad=True)
    as_array(x, writable=True).data[:] = 2
    assert x.tolist() == [2, 2, 2] and x.requires_grad


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        ([1.0, 2.0], "got list"),
        (None, "got NoneType"),
        (3.0, "got float"),
        (np.ones(2, bool), "dtype bool"),
        (np.ones(2, complex), "dtype complex128"),
        (np.array(["a"]), "dtype <U1"),
        (np.array([None]), "dtype object"),
        (np.ones(2, ">f4" if sys.byteorder == "little" else "<f4"), "native"),
        (np.ones(2, np.longdouble), "dtype float128"),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_what_cannot_be_used_is_refused_with_its_reason(x, reason):
    with pytest.raises(UnsupportedArray, match=reason):
        as_array(x)


def test_tensors_that_cannot_be_used_are_refused_with_their_reason(torch):
    for x, reason in (
        (torch.ones(2).to_sparse(), "layout torch.sparse_coo"),
        (torch.ones(2, device="meta"), "on meta"),
        (torch.ones(2, dtype=torch.complex64), "complex64"),
        (torch.ones(2, dtype=torch.bool), "a bool tensor"),
        (torch.ones(2, dtype=torch.complex64).conj().imag, "lazy"),
    ):
        with pytest.raises(UnsupportedArray, match=reason):
            as_array(x)


def test_an_array_in_device_memory_needs_cupy(monkeypatch):
    class OnDevice:
        __cuda_array_interface__ = {}

    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(UnsupportedArray, match=r"CuPy.*pip install .*cuda12"):
        as_array(OnDevice())


def test_a_result_that_could_not_be_seen_is_refused(torch):
    readonly = np.zeros(4)
    readonly.flags.writeable = False
    for out, reason in (
        (readonly, "read-only"),
        (b"abcd", "read-only"),
        (np.zeros(8)[::2], "not contiguous"),
        (np.zeros((2, 2)).T, "not contiguous"),
        (np.float32(1), "scalar"),
        (torch.zeros(8)[::2], "not contiguous"),
        (torch.zeros(1).expand(4), "not contiguous"),
    ):
        with pytest.raises(UnsupportedArray, match=reason):
            as_array(out, writable=True)


def test_the_result_goes_to_new_memory_or_to_out_or_in_place():
    x = as_array(np.arange(4.0).reshape(2, 2))
    assert output_for(x, None).value.shape == (2, 2)
    out = np.empty(4)
    assert output_for(x, out).data.ctypes.data == out.ctypes.data
    assert output_for(x, x.value).data.ctypes.data == x.data.ctypes.data


def test_out_of_another_count_or_dtype_is_refused():
    x = as_array(np.zeros(4, np.float32))
    for out, reason in (
        (np.zeros(3, np.float32), "out has 3 elements of float32, the result has 4"),
        (np.zeros(4), "4 elements of float64, the result has 4 of float32"),
    ):
        with pytest.raises(ShapeMismatch, match=reason):
            output_for(x, out)


def test_out_that_overlaps_the_input_is_refused():
    memory = np.zeros(6)
    with pytest.raises(UnsupportedArray, match="overlaps"):
        output_for(as_array(memory[:4]), memory[2:])


def test_an_unknown_dtype_lists_the_known_ones():
    with pytest.raises(InvalidArgument, match="wire 'float8': choose from float16, bf"):
        dtype_named("float8", "wire")


def test_the_wider_type_holds_both():
    f16, bf16, f32, f64 = (
        DTYPES[n] for n in ("float16", "bfloat16", "float32", "float64")
    )
    assert wider(f16, f16) == f16 and wider(f16, bf16) == f32
    assert wider(f32, bf16) == f32 and wider(f16, f64) == f64


def test_a_tensor_that_requires_grad_is_where_it_is(torch):
    from collectives import device

    class OnGpu(torch.Tensor):  # torch's raises of it, and of types it has no name for
        is_cuda = True

        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("requires grad")

    assert device.on_device(torch.ones(3).as_subclass(OnGpu))
    assert not device.on_device(torch.ones(3, requires_grad=True))
