"""The caller's current stream is the same after a call as before it."""

import sys
from types import SimpleNamespace

import fake_cupy
import numpy as np
import pytest
from fake_gpu import Stream, get_current_stream

from collectives import device
from collectives.device_side import DeviceSide


def ordered(steps):
    x = fake_cupy.asarray(np.ones(9, np.float32))
    ordered = device.Ordered(device.Queue(), device.caller(x), steps, x)
    list(ordered)
    ordered.hand_over()


def steps():
    ordered(iter(range(3)))


def new_memory():
    ordered(device.empty(9, np.float32) for _ in range(2))


def first_kernels():
    side = DeviceSide(SimpleNamespace(), "auto", "staged")
    side.queue = device.Queue()
    side.tried()


def tensor_made():
    torch = SimpleNamespace(from_dlpack=lambda data: data)
    device.to_torch(torch, fake_cupy.empty(9, np.float32), "cuda:0")


@pytest.fixture
def torchs(gpu, monkeypatch):
    """Return a stream that stands for torch's current one."""
    stream = Stream(gpu)
    monkeypatch.setattr(device, "of_torch", lambda *_: stream)
    return stream


@pytest.mark.parametrize("work", [steps, new_memory, first_kernels, tensor_made])
def test_a_stream_in_use_stays_the_current_one(gpu, torchs, work):
    before = get_current_stream()
    assert before is gpu.default
    work()
    assert get_current_stream() is before
    for _ in range(2):
        mine = Stream(gpu).use()
        work()
        assert get_current_stream() is mine
        with Stream(gpu) as inner:
            work()
            assert get_current_stream() is inner
            mine.use()
            work()
            assert get_current_stream() is mine


def test_an_error_leaves_the_current_stream_as_it_was(gpu):
    mine = Stream(gpu).use()
    with pytest.raises(ZeroDivisionError), device.working_on(Stream(gpu)) as nothing:
        assert nothing is None and get_current_stream() is not mine
        1 / 0  # noqa: B018
    assert get_current_stream() is mine


def test_each_gpu_has_a_current_stream_of_its_own(gpu):
    cuda = sys.modules["cupy"].cuda
    mine = Stream(gpu).use()
    with cuda.Device(1), device.working_on(Stream(gpu)):
        assert get_current_stream(0) is mine is not get_current_stream()
    assert get_current_stream(1) is gpu.default and get_current_stream() is mine


def test_a_plain_with_forgets_a_stream_in_use(gpu):
    Stream(gpu).use()
    with Stream(gpu):
        pass
    assert get_current_stream() is gpu.default  # so it is with CuPy
