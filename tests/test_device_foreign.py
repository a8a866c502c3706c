"""Device arrays of other libraries than CuPy, and tensors made of CuPy's."""

import sys
from types import SimpleNamespace

import fake_cupy
import numpy as np
import pytest

from collectives import UnsupportedArray, device
from collectives.arrays import as_array, output_for


@pytest.fixture
def cp(monkeypatch):
    gpu = fake_cupy.Gpu()
    yield fake_cupy.install(monkeypatch, gpu, devices=2)


class Foreign:
    """An array of which nothing is known but the interface."""

    def __init__(self, x, *, read_only=False):
        self.x = x
        self.__cuda_array_interface__ = {
            **x.__cuda_array_interface__,
            "data": (x.ptr, read_only),
        }


def on(cp, number, count=5):
    with cp.cuda.Device(number):
        return cp.empty(count, np.float32)


@pytest.mark.parametrize("number", [0, 1])
def test_a_foreign_array_shares_its_memory_whichever_gpu_is_current(cp, number):
    x = on(cp, number)
    for current in (0, 1):
        with cp.cuda.Device(current):
            found = as_array(Foreign(x), writable=True)
            assert device.number(Foreign(x)) == number
            assert cp.cuda.Device().id == current
        assert found.data.data.ptr == x.data.ptr and found.data.device.id == number


def test_an_array_without_elements_is_where_it_is_asked_for(cp):
    nothing = Foreign(cp.empty(0, np.float32))
    nothing.__cuda_array_interface__["data"] = (0, False)
    assert device.number(nothing) == 0


def test_a_read_only_array_is_input_and_no_output(cp):
    x = Foreign(on(cp, 0), read_only=True)
    assert as_array(x).shape == (5,)
    with pytest.raises(UnsupportedArray, match="out: .*the device array is read-only"):
        output_for(as_array(x), x)


def test_an_output_on_another_gpu_than_the_input_is_refused(cp):
    x = as_array(on(cp, 0))
    assert output_for(x, on(cp, 0)).data.device.id == 0
    for out in (on(cp, 1), Foreign(on(cp, 1))):
        with pytest.raises(UnsupportedArray, match="out lies on GPU 1, .* on GPU 0"):
            output_for(x, out)


def test_a_result_of_torch_has_no_other_stream_wait(cp, monkeypatch):
    with cp.cuda.Device(1):
        theirs, seen = cp.cuda.Stream(), []

    def from_dlpack(data):
        now = cp.cuda.get_current_stream(), cp.cuda.Device().id
        seen.append(now)
        return data

    torch = SimpleNamespace(from_dlpack=from_dlpack)
    monkeypatch.setattr(device, "of_torch", lambda *_: theirs)
    x = on(cp, 1)
    assert device.to_torch(torch, x, "cuda:1") is x
    assert seen == [(theirs, 1)]
    assert cp.cuda.Device().id == 0 and "cupy" in sys.modules
