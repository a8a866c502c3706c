import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.elements import DTYPES, SIGNIFICAND, decode, storage
from bench.inputs import PERIOD, Inputs
from bench.options import OPS

INTEGERS = [dtype for dtype in DTYPES if dtype not in SIGNIFICAND]
PAIRS = [(d, op) for d in DTYPES for op in OPS if op != "mean" or d in SIGNIFICAND]
UFUNCS = {"prod": np.multiply, "min": np.minimum, "max": np.maximum}
COUNT = 1000


def contributions(inputs, count=COUNT):
    buffers = np.zeros((inputs.size, count), storage(inputs.dtype))
    for rank, buffer in enumerate(buffers):
        inputs.fill(buffer, rank)
    return buffers


def rounded(dtype, values):
    """Round to nearest even as the type does, so that inexact sums would show."""
    if dtype != "bfloat16":
        return values.astype(dtype)
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def reduce_in(order, inputs, buffers):
    """Reduce in that order, every partial result rounded to the type."""
    dtype, ufunc = inputs.dtype, UFUNCS.get(inputs.op, np.add)
    total = buffers[order[0]].copy()
    for rank in order[1:]:
        if dtype in INTEGERS:
            ufunc(total, buffers[rank], out=total)
        else:
            wide = ufunc(decode(dtype, total), decode(dtype, buffers[rank]))
            total = rounded(dtype, wide)
    if inputs.op == "mean":
        return rounded(dtype, decode(dtype, total) / inputs.size)
    return total


@pytest.mark.parametrize(("dtype", "op"), PAIRS)
@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_every_order_gives_the_expected_bits(dtype, op, size):
    inputs = Inputs(dtype, op, size, seed=3)
    buffers = contributions(inputs)
    rng = np.random.default_rng(size)
    for _ in range(3):
        order = rng.permutation(size)
        assert inputs.wrong(reduce_in(order, inputs, buffers)) == 0


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    pair=st.sampled_from(PAIRS),
    size=st.integers(1, 40),
    count=st.integers(0, 300),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_any_type_op_size_and_seed_is_exact(pair, size, count, seed, data):
    inputs = Inputs(*pair, size, seed)
    order = data.draw(st.permutations(range(size)))
    buffers = contributions(inputs, count)
    assert inputs.wrong(reduce_in(order, inputs, buffers)) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [2, 8])
def test_no_rank_contributes_nothing_to_a_sum(dtype, size):
    buffers = contributions(Inputs(dtype, "sum", size))
    assert np.all(buffers != 0)
    assert len({buffer.tobytes() for buffer in buffers}) == size


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", [64, 300, 3000])
def test_sums_of_many_ranks_stay_below_what_halves_hold(dtype, size):
    inputs = Inputs(dtype, "sum", size)
    assert inputs.total.max() <= 1 << SIGNIFICAND[dtype]
    assert inputs.total.min() > 0
    if size == 64:
        assert inputs.stride == 1


SABOTAGE = {
    "omitted": lambda buffers: buffers[:-1],
    "doubled": lambda buffers: np.concatenate([buffers, buffers[-1:]]),
    "shifted": lambda buffers: np.concatenate(
        [buffers[:-1], np.roll(buffers[-1:], 1, axis=1)]
    ),
    "replaced by another's": lambda buffers: np.concatenate(
        [buffers[:-1], buffers[:1]]
    ),
}


# An extreme does not tell how often it was seen.
SEEN = [
    (kind, *pair)
    for kind in SABOTAGE
    for pair in PAIRS
    if kind != "doubled" or pair[1] not in ("min", "max")
]


@pytest.mark.parametrize(("kind", "dtype", "op"), SEEN)
@pytest.mark.parametrize("size", [2, 5])
def test_sabotage_is_counted(kind, dtype, op, size):
    inputs = Inputs(dtype, op, size)
    broken = SABOTAGE[kind](contributions(inputs))
    got = reduce_in(range(len(broken)), inputs, broken)
    assert inputs.wrong(got) > COUNT // (4 * size)


def test_swapped_ranks_are_not_wrong_since_addition_commutes():
    inputs = Inputs("float32", "sum", 3)
    assert inputs.wrong(reduce_in([2, 1, 0], inputs, contributions(inputs))) == 0


@pytest.mark.parametrize("dtype", [d for d in SIGNIFICAND if d != "bfloat16"])
def test_a_mean_may_be_one_unit_off_but_no_sum_may(dtype):
    mean, total = Inputs(dtype, "mean", 3), Inputs(dtype, "sum", 3)
    exact = (mean.total[:COUNT] / 3).astype(dtype)
    assert mean.wrong(np.nextafter(exact, np.inf, dtype=dtype)) == 0
    assert mean.wrong(exact * np.array(1.01, dtype)) == COUNT
    off = np.nextafter(total.expected[:COUNT], np.inf, dtype=dtype)
    assert total.wrong(off) == COUNT


@pytest.mark.parametrize("op", OPS)
def test_nan_and_untouched_memory_are_wrong(op):
    inputs = Inputs("float32", op, 4)
    assert inputs.wrong(np.full(COUNT, np.nan, np.float32)) == COUNT
    assert inputs.wrong(np.zeros(COUNT, np.float32)) == COUNT


def test_long_buffers_repeat_the_pattern():
    inputs = Inputs("int32", "sum", 2)
    buffers = contributions(inputs, 2 * PERIOD + 10)
    np.testing.assert_array_equal(buffers[:, :PERIOD], buffers[:, PERIOD : 2 * PERIOD])
    result = buffers.sum(axis=0, dtype=np.int32)
    assert inputs.wrong(result) == 0
    result[[0, PERIOD, 2 * PERIOD + 9]] += 1
    assert inputs.wrong(result) == 3


def test_a_result_moved_by_a_power_of_two_is_wrong():
    inputs = Inputs("float32", "sum", 4)
    result = contributions(inputs, 4 * PERIOD).sum(axis=0)
    for shift in (1, 2, 64, 4096, 1 << 14):
        assert inputs.wrong(np.roll(result, shift)) > result.size // 2
