import sys

import numpy as np
import pytest
from halfway import halfway
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import InvalidArgument
from collectives.arrays import DTYPES
from collectives.ops import (
    BLOCK,
    HALVES,
    UFUNCS,
    Accumulator,
    check_op,
    combine,
    convert,
    scale,
    widen,
)

F32, F64 = DTYPES["float32"], DTYPES["float64"]
WAYS = pytest.mark.parametrize("way", ["torch", "without_torch"])


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def random_bits(dtype, size, seed):
    """Every pattern of a half type: infinities, NaN, subnormal numbers."""
    bits = np.random.default_rng(seed).integers(0, 1 << 16, size, np.uint16)
    return bits.view(dtype.storage)


def canonical(dtype, data):
    """Bits, with one NaN for all."""
    return np.where(np.isnan(widen(dtype, data)), 0x7FFF, data.view(np.uint16))


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("op", UFUNCS)
def test_half_types_combine_to_the_same_bits_with_and_without_torch(
    torch, monkeypatch, name, op
):
    dtype, size = DTYPES[name], BLOCK + 1003
    a, b = random_bits(dtype, size, 1), random_bits(dtype, size, 2)
    with_torch, without = a.copy(), a.copy()
    combine(op, dtype, with_torch, b)
    monkeypatch.setitem(sys.modules, "torch", None)
    combine(op, dtype, without, b)
    np.testing.assert_array_equal(
        canonical(dtype, with_torch), canonical(dtype, without)
    )


@pytest.mark.parametrize("name", HALVES)
def test_half_types_are_added_in_float32_whatever_torch_s_defaults_are(torch, name):
    dtype = DTYPES[name]
    sources = [random_bits(dtype, 1000, seed) for seed in range(3)]
    expected, found = np.empty_like(sources[0]), np.empty_like(sources[0])
    Accumulator("sum", dtype)(sources, [expected])
    try:
        torch.set_default_dtype(torch.bfloat16)
        torch.set_default_device("meta")
        Accumulator("sum", dtype)(sources, [found])
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    np.testing.assert_array_equal(canonical(dtype, found), canonical(dtype, expected))


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("factor", [0.5, 1 / 3, 3.0, 1e-30])
def test_half_types_scale_to_the_same_bits_with_and_without_torch(
    torch, monkeypatch, name, factor
):
    dtype = DTYPES[name]
    data = random_bits(dtype, 70001, 3)
    with_torch, without = data.copy(), data.copy()
    scale(dtype, with_torch, factor)
    monkeypatch.setitem(sys.modules, "torch", None)
    scale(dtype, without, factor)
    np.testing.assert_array_equal(
        canonical(dtype, with_torch), canonical(dtype, without)
    )


@pytest.mark.parametrize("name", HALVES)
def test_conversions_give_the_same_bits_with_and_without_torch(
    torch, monkeypatch, name
):
    dtype = DTYPES[name]
    bits = np.random.default_rng(4).integers(0, 1 << 32, 70001, np.uint32)
    wide = bits.view(np.float32)
    with_torch, without = (np.empty(wide.size, dtype.storage) for _ in range(2))
    convert(F32, wide, dtype, with_torch)
    monkeypatch.setitem(sys.modules, "torch", None)
    convert(F32, wide, dtype, without)
    np.testing.assert_array_equal(
        canonical(dtype, with_torch), canonical(dtype, without)
    )


@pytest.mark.parametrize("name", HALVES)
def test_widening_and_narrowing_is_the_identity(without_torch, name):
    dtype = DTYPES[name]
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype.storage)
    wide, back = np.empty(every.size, np.float32), np.empty_like(every)
    convert(dtype, every, F32, wide)
    convert(F32, wide, dtype, back)
    np.testing.assert_array_equal(canonical(dtype, every), canonical(dtype, back))


@pytest.mark.parametrize("hidden", [False, True])
def test_bfloat16_rounds_to_nearest_even(monkeypatch, hidden):
    if hidden:
        monkeypatch.setitem(sys.modules, "torch", None)
    # Between 1 and the next number, 1 + 2**-7: half way goes to the even one.
    wide = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 3.4e38], np.float32)
    got = np.empty(4, np.uint16)
    convert(F32, wide, DTYPES["bfloat16"], got)
    assert got.tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7F80]


@pytest.mark.parametrize("hidden", [False, True])
def test_float16_rounds_to_nearest_even_and_beyond_its_range_to_infinity(
    monkeypatch, hidden
):
    if hidden:
        monkeypatch.setitem(sys.modules, "torch", None)
    wide = np.array([2049, 2051, 65519, 65520, -70000], np.float32)
    got = np.empty(5, np.float16)
    convert(F32, wide, DTYPES["float16"], got)
    assert got.tolist() == [2048, 2052, 65504, np.inf, -np.inf]


@WAYS
@pytest.mark.parametrize("name", HALVES)
def test_float64_is_rounded_once_to_the_nearest_half(request, name, way):
    request.getfixturevalue(way)
    wide, nearest = halfway(DTYPES[name])
    got = np.empty_like(nearest)
    convert(F64, wide, DTYPES[name], got)
    np.testing.assert_array_equal(got.view(np.uint16), nearest.view(np.uint16))


@WAYS
@pytest.mark.parametrize("name", HALVES)
def test_infinities_nan_and_zeros_of_float64_stay_what_they_are(request, name, way):
    request.getfixturevalue(way)
    wide = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-300, -1e300])
    got, back = np.empty(wide.size, DTYPES[name].storage), np.empty(wide.size)
    convert(F64, wide, DTYPES[name], got)
    convert(DTYPES[name], got, F64, back)
    expected = [np.inf, -np.inf, np.nan, 0.0, -0.0, 0.0, -np.inf]
    np.testing.assert_array_equal(back, expected)
    assert np.signbit(back[[3, 4, 5]]).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("op", UFUNCS)
def test_nan_propagates_from_either_side(name, op):
    dtype = DTYPES[name]
    target = np.array([np.nan, 1, np.nan, 1], dtype.storage)
    combine(op, dtype, target, np.array([1, np.nan, np.nan, 1], dtype.storage))
    assert np.isnan(target).tolist() == [True, True, True, False]


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_overflow_is_infinity_and_infinities_cancel_to_nan_without_a_warning(
    monkeypatch, name
):
    dtype = DTYPES[name]
    most = np.finfo(dtype.storage).max
    for hidden in (False, True):
        if hidden:
            monkeypatch.setitem(sys.modules, "torch", None)
        target = np.array([most, np.inf, most], dtype.storage)
        combine("sum", dtype, target, np.array([most, -np.inf, -most], dtype.storage))
        np.testing.assert_array_equal(target, [np.inf, np.nan, 0])
        scale(dtype, target, 1e300)
        np.testing.assert_array_equal(
            target, [np.inf, np.nan, np.nan][:2] + [target[2]]
        )


@pytest.mark.parametrize("name", [n for n, d in DTYPES.items() if not d.floating])
def test_integers_wrap_around(name):
    dtype = DTYPES[name]
    most, least = np.iinfo(name).max, np.iinfo(name).min
    target = np.array([most], name)
    combine("sum", dtype, target, np.array([1], name))
    assert target[0] == least


@settings(deadline=None)
@given(st.sampled_from([*UFUNCS]), st.integers(0, 40), st.integers(0, 9))
def test_combining_is_numpys(op, size, seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=size).astype(np.float32) for _ in range(2))
    expected = UFUNCS[op](a, b)
    combine(op, F32, a, b)
    np.testing.assert_array_equal(a, expected, strict=True)


def test_an_unknown_op_lists_the_known_ones():
    with pytest.raises(InvalidArgument, match="'avg': choose from sum, mean, prod"):
        check_op("avg", F32)
    with pytest.raises(InvalidArgument, match="mean of integers"):
        check_op("mean", DTYPES["int32"])
