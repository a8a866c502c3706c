"""CUDA fails: whoever waits for the GPU hears of it, and does not wait for ever."""

from types import SimpleNamespace

import fake_cupy
import fake_nccl
import numpy as np
import pytest
from fake_gpu import ILLEGAL_ADDRESS, Mark

from bench.place import Gpu as BenchPlace
from collectives import CollectiveError, Stalled, arrays, device
from collectives.chunk import Chunk
from collectives.device_side import DeviceSide
from collectives.step import GroupCall
from collectives.transports.direct import Direct
from collectives.transports.nccl import Nccl
from collectives.transports.staged import Slots, Staged

NAMED = "CUDA: cudaErrorIllegalAddress.*start it again"


class Nobody:
    """Messages that nobody comes to begin."""

    rank = 0
    isend = irecv = None

    def Iprobe(self):  # noqa: N802, as MPI's
        pass


@pytest.fixture
def queue(gpu):
    gpu.lazy = 0.0  # streams do nothing by themselves
    return device.Queue()


def test_an_event_has_come_or_has_not_or_never_will(gpu, queue):
    event = queue.record(queue.kernels)
    assert device.reached(event) is False
    queue.kernels.synchronize()
    assert device.reached(event) is True
    gpu.error = ILLEGAL_ADDRESS
    with pytest.raises(RuntimeError, match=NAMED):
        device.reached(event)


def sending(queue):
    message = Staged(Nobody(), queue).isend(fake_cupy.empty(9, np.float32), 1, 0)
    return message.Test


def taking(queue):
    slots = Slots()
    slots.copying.append((queue.record(queue.up), np.empty(9, np.uint8)))
    return lambda: slots.take(9)


def passing_on(queue):
    message = Direct(Nobody(), queue).isend(fake_cupy.empty(9, np.float32), 1, 0)
    return message.Test


def calling(queue):
    engine = Nccl(Nobody(), queue)
    call = GroupCall("allreduce", (0,), Chunk(0, 9), None)
    x = fake_cupy.empty(9, np.float32)
    steps = engine.start(call, x, arrays.DTYPES["float32"], "sum")
    for _ in range(5):
        assert not steps.Test()  # it waits for the end of the call
    return steps.Test


def closing(queue):
    side = DeviceSide(SimpleNamespace(timeout_s=60.0), "auto", "staged")
    side.queue = queue
    queue.record = lambda stream: event  # made when CUDA still worked
    event = device.Queue.record(queue, queue.kernels)
    return side.close


def timing(queue):
    event = queue.record(queue.kernels)
    return lambda: BenchPlace(Nobody()).wait(event)


@pytest.mark.parametrize(
    "waits", [sending, taking, passing_on, calling, closing, timing]
)
def test_whoever_waits_for_the_gpu_is_told_of_its_error(gpu, queue, monkeypatch, waits):
    fake_nccl.install(monkeypatch, gpu)
    look = waits(queue)
    gpu.error = ILLEGAL_ADDRESS
    with pytest.raises(RuntimeError, match=NAMED) as caught:
        look()
    assert not isinstance(caught.value, CollectiveError)  # other ranks know nothing


def test_closing_does_not_wait_for_ever(gpu):
    side = DeviceSide(SimpleNamespace(timeout_s=0.05), "auto", "staged")
    side.queue = device.Queue(1)
    side.queue.up.put(lambda: None, waits=Mark())  # never reached
    with pytest.raises(Stalled, match=r"close\(\): GPU 1 has not done within 0.05 s"):
        side.close()


def test_closing_waits_for_all_that_was_queued(gpu):
    side = DeviceSide(SimpleNamespace(timeout_s=60.0), "auto", "staged")
    side.queue = device.Queue()
    done = []
    for stream in side.queue.streams:
        for _ in range(20):
            stream.put(lambda: done.append(True))
    side.close()
    assert len(done) == 60


def test_a_result_that_is_dropped_after_an_error_tells_nobody(gpu):
    x = fake_cupy.asarray(np.ones(9, np.float32))
    steps = device.Ordered(device.Queue(), device.caller(x), iter(()), x)
    list(steps)
    gpu.error = ILLEGAL_ADDRESS
    with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
        steps.hand_over()
    del steps
