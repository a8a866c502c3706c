"""Device arrays through the communicator, on a stand-in for a GPU that finds races."""

import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import fake_cupy
import numpy as np
import pytest
from device_cases import *  # noqa: F403 - the tests
from fake_gpu import ILLEGAL_ADDRESS, NO_DEVICE
from fake_wire import Watched

from collectives import (
    CollectiveError,
    Communicator,
    InvalidArgument,
    Stalled,
    UnsupportedArray,
    device,
    kernels,
)
from collectives.transports.staged import Staged

pytestmark = pytest.mark.mpi


@pytest.fixture(params=[0, 1], ids="seed {}".format)
def gpu(monkeypatch, request):
    made = fake_cupy.Gpu(seed=request.param)
    fake_cupy.install(monkeypatch, made)
    return made


@pytest.fixture
def cp(gpu):
    return sys.modules["cupy"]


@pytest.fixture
def comm(gpu):
    with Communicator(timeout_s=20) as comm:
        side = comm._end.device
        side.queue = device.Queue()
        side.messages = Staged(Watched(comm._end.point, gpu), side.queue)
        yield comm


def test_the_readme_has_a_program_that_runs(gpu, cp, monkeypatch):
    readme = Path(__file__).parents[2].joinpath("README.rst").read_text("utf-8")
    begin = readme.index("# on_gpus.py")
    text = textwrap.dedent("   " + readme[begin : readme.index("\n\nCuPy", begin)])
    cp.cuda.runtime.getDeviceCount = lambda: 8
    names = {}
    exec(text.replace("1 << 20", "1000"), names)
    mean = (names["comm"].size - 1) / 2
    np.testing.assert_array_equal(names["x"].get(), np.full(1000, mean, np.float32))


def test_without_cupy_the_cure_is_told_on_all_ranks(comm, monkeypatch, cp):
    x = cp.asarray(np.ones(7, np.float32))
    with monkeypatch.context() as patch:
        if comm.rank == 0:
            patch.setitem(sys.modules, "cupy", None)
        with pytest.raises(UnsupportedArray, match=r"pip install .*cuda12"):
            comm.allreduce(x)
    comm.barrier()


def test_without_a_compiler_the_cure_is_told_on_all_ranks(comm, monkeypatch, cp):
    x = cp.asarray(np.ones(7, np.float32))
    with monkeypatch.context() as patch:
        if comm.rank == comm.size - 1:
            fake_cupy.without_compiler(patch)
        for use in (comm.allreduce, lambda x: comm.empty(7, device="cuda")):
            with pytest.raises(
                UnsupportedArray, match=r"no NVRTC\).*pip install .*cuda12"
            ):
                use(x)
    kernels.kernel.cache_clear()
    np.testing.assert_array_equal(comm.allreduce(x).get(), [comm.size] * 7)


def test_mpi_that_takes_no_device_memory_is_not_given_any(gpu, cp):
    x = cp.asarray(np.ones(7, np.float32))
    with Communicator(timeout_s=20, gpu_transport="device") as comm:
        with pytest.raises(InvalidArgument, match="'auto' or 'staged'"):
            comm.allreduce(x)
        comm.barrier()


def test_memory_is_of_the_gpu_of_who_asks_for_it(gpu, cp, mpi):
    if mpi.Query_thread() < mpi.THREAD_MULTIPLE:
        pytest.skip("this MPI wants one thread")
    cp.cuda.Device(1).use()
    with Communicator(timeout_s=20) as comm:
        lane = comm._lane

        def busy():
            while len(lane.queue) < 2:  # so the next one runs on the lane's own thread
                yield 0

        lane.submit(busy(), [])
        x = comm.empty(3, device="cuda")
        assert x.device.id == comm._end.device.queue.number == 1
        assert comm._end.device.seats[comm.rank].gpu == cp.cuda.Device(1).pci_bus_id


def test_without_a_gpu_memory_is_refused_on_all_ranks(gpu, cp):
    with Communicator(timeout_s=20) as comm:
        if comm.rank == comm.size - 1:

            def none(number=None):
                raise cp.cuda.runtime.CUDARuntimeError(NO_DEVICE)

            cp.cuda.Device = none
        with pytest.raises(UnsupportedArray, match="no GPU to use: cudaErrorNoDevice"):
            comm.empty(3, device="cuda")
        comm.barrier()


def test_an_array_on_another_gpu_is_told_on_all_ranks(comm, cp):
    x, elsewhere = (cp.asarray(np.ones(7, np.float32)) for _ in range(2))
    comm.allreduce(x)
    if comm.rank == 0:
        elsewhere.device = cp.cuda.Device(1)
    with pytest.raises(UnsupportedArray, match="lies on GPU 1"):
        comm.allreduce(elsewhere)
    comm.allreduce(x)


def test_an_array_that_lies_about_itself_is_told_on_all_ranks(comm, cp):
    x, liar = cp.asarray(np.ones(7, np.float32)), SimpleNamespace()
    liar.__cuda_array_interface__ = {"shape": (7,)}
    for _ in range(2):
        with pytest.raises(InvalidArgument, match="allreduce: KeyError"):
            comm.allreduce(liar if comm.rank == 0 else x)
        comm.allreduce(x)


def test_a_missing_rank_is_told_and_aborts_nccl(gpu, cp):
    comm = Communicator(timeout_s=1.0)  # left as it is: it cannot be used afterwards
    x = cp.asarray(np.ones(7, np.float32))
    comm.allreduce(x)
    aborted = []
    comm._end.device.engine = SimpleNamespace(
        abort=lambda: aborted.append(True), supports=lambda dtype: False
    )
    if comm.rank == 0 < comm.size - 1:
        with pytest.raises(Stalled, match="ranks? 1"):
            comm.allreduce(x)
        assert aborted
        with pytest.raises(Stalled, match="cannot be used since"):
            comm.allreduce(x)


def test_an_error_of_cuda_ends_the_call_on_all_ranks_by_its_name(gpu, cp):
    comm = Communicator(timeout_s=20)  # left as it is: it cannot be used afterwards
    if comm.size == 1:
        pytest.skip("one rank waits for no copy")
    x = cp.asarray(np.ones(7, np.float32))
    comm.allreduce(x)
    if comm.rank == comm.size - 1:
        query = cp.cuda.runtime.eventQuery

        def fail(event):
            gpu.error = ILLEGAL_ADDRESS
            return query(event)

        cp.cuda.runtime.eventQuery = fail
    with pytest.raises(CollectiveError, match="CUDA: cudaErrorIllegalAddress"):
        comm.allreduce(x)


@pytest.mark.parametrize("first", [True, False], ids=["at first", "later"])
@pytest.mark.parametrize("when", ["before", "on the way"])
def test_an_earlier_error_of_cuda_ends_the_call_on_all_ranks(gpu, cp, when, first):
    comm = Communicator(timeout_s=20)  # left as it is: it cannot be used afterwards
    x = cp.asarray(np.ones(7, np.float32))
    if not first:
        comm.allreduce(x)
    steps, unlucky = comm._end.steps, comm.rank == comm.size - 1

    def later(*call):
        """Let the error come when the call has looked, before its turn."""
        found = steps(*call)
        gpu.error = ILLEGAL_ADDRESS
        return found

    if unlucky and when == "before":
        gpu.error = ILLEGAL_ADDRESS
    elif unlucky:
        comm._end.steps = later
    with pytest.raises(CollectiveError, match="cudaErrorIllegalAddress"):
        comm.allreduce(x)
    with pytest.raises(CollectiveError, match="cannot be used since then"):
        comm.barrier()


def test_closing_tells_an_error_of_cuda_and_keeps_nobody_waiting(gpu, cp):
    comm = Communicator(timeout_s=20)
    comm.allreduce(cp.asarray(np.ones(7, np.float32)))
    if comm.rank == comm.size - 1:
        gpu.error = ILLEGAL_ADDRESS
        with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
            comm.close()
    comm.close()
    with Communicator(timeout_s=20) as other:
        assert other.allreduce(np.ones(3)).tolist() == [other.size] * 3


def test_a_plan_may_be_the_first_on_a_gpu(gpu, cp):
    with Communicator(timeout_s=20) as comm:
        x = cp.asarray(np.ones(7, np.float32))
        plan = comm.plan(x)
        assert comm._end.device.seats is not None  # known before it is planned
        np.testing.assert_array_equal(plan.run().get(), [comm.size] * 7)
