import numpy as np
import pytest

from collectives import InvalidArgument
from collectives.arrays import DTYPES, as_array
from collectives.reduction import Reduction


def simulated(reduction, inputs):
    """Sum on one rank what the ranks would send, in rank order."""
    arrays = [as_array(x) for x in inputs]
    outs = [a.like(np.empty_like(a.data), a.shape) for a in arrays]
    data = [
        reduction.working(a.data, o.data) for a, o in zip(arrays, outs, strict=True)
    ]
    for other in data[1:]:
        data[0] += other
    reduction.finish(data[0], outs[0].data)
    return outs[0].value


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_the_mean_of_equal_large_halves_does_not_overflow(size):
    inputs = [np.full(3, 60000, np.float16)] * size
    for deterministic in (False, True):
        mean = Reduction.of(
            "mean", DTYPES["float16"], size, deterministic=deterministic
        )
        got = simulated(mean, inputs)
        np.testing.assert_allclose(got.astype(float), 60000, rtol=0.01)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_mean_of_equal_numbers_is_exact_for_powers_of_two(size):
    inputs = [np.array([1, 1.5, 49152], np.float16)] * size
    got = simulated(Reduction.of("mean", DTYPES["float16"], size), inputs)
    np.testing.assert_array_equal(got, inputs[0], strict=True)


def test_scales_are_applied_once_before_and_once_after():
    scaled = Reduction.of("sum", DTYPES["float32"], 2, scales=(0.5, 4.0))
    got = simulated(scaled, [np.float32([1, 2]), np.float32([3, 4])])
    np.testing.assert_array_equal(got, np.float32([8, 12]), strict=True)


def test_the_wider_of_dtype_and_wire_holds_partial_sums():
    for dtype, wire, work in (
        ("float32", "float16", "float32"),
        ("float16", "float32", "float32"),
        ("float16", "bfloat16", "float32"),
        ("float64", "float32", "float64"),
        ("bfloat16", None, "bfloat16"),
    ):
        reduction = Reduction.of("sum", DTYPES[dtype], 2, wire=wire)
        assert reduction.work.name == work
        assert reduction.wire.name == (wire or dtype)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_deterministic_sums_of_halves_travel_in_float32(name):
    assert (
        Reduction.of("sum", DTYPES[name], 2, deterministic=True).wire.name == "float32"
    )


def test_the_input_stays_as_it_is():
    x = as_array(np.float32([1, 2]))
    out = x.like(np.empty_like(x.data), x.shape)
    reduction = Reduction.of("sum", DTYPES["float32"], 2, scales=(3.0, 1.0))
    reduction.working(x.data, out.data)[:] = 9
    assert x.data.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("dtype", "options", "reason"),
    [
        ("int32", {"scales": (2.0, 1.0)}, "only floating-point arrays can be scaled"),
        ("int32", {"wire": "float16"}, "wire 'float16' for an array of int32"),
        ("float32", {"wire": "int8"}, "wire 'int8' for an array of float32"),
        ("float32", {"wire": "float8"}, "choose from"),
    ],
)
def test_scale_and_wire_that_do_not_fit_are_refused(dtype, options, reason):
    with pytest.raises(InvalidArgument, match=reason):
        Reduction.of("sum", DTYPES[dtype], 2, **options)
