import gc
import threading

import numpy as np
import pytest
from inputs import ALGORITHMS, array_of, plain, result, values

from collectives import Communicator, InvalidArgument, ShapeMismatch, Stalled, Topology

pytestmark = pytest.mark.mpi


def test_several_in_flight_end_with_their_own_results(comm):
    works = []
    for i, name in enumerate(ALGORITHMS * 2):
        x = values(comm.rank, comm.size, 20 + i)
        works.append((comm.iallreduce(x, algorithm=name), 20 + i))
    for work, count in reversed(works):
        np.testing.assert_array_equal(work.wait(), result(comm.size, count))


def test_blocking_calls_between_started_ones_keep_the_order(comm):
    x = values(comm.rank, comm.size, 1000)
    total = result(comm.size, 1000)
    first = comm.iallreduce(x, algorithm="ring")
    np.testing.assert_array_equal(
        comm.allreduce(x, "max"), result(comm.size, 1000, "max")
    )
    assert first.done()
    second = comm.iallreduce(x, out=x)
    comm.barrier()
    np.testing.assert_array_equal(x, total)
    np.testing.assert_array_equal(first.wait(), total)
    assert second.wait() is x


def test_options_are_those_of_allreduce(comm):
    x = array_of(values(comm.rank, comm.size, 33), "float32")
    work = comm.iallreduce(x, "sum", prescale=2, wire="float16", algorithm="ring")
    np.testing.assert_array_equal(plain(work.wait()), 2 * result(comm.size, 33))


def test_a_callback_comes_when_the_result_is_there(comm):
    seen, called = [], threading.Event()

    def callback(work):
        seen.append(work.wait()[0])
        called.set()

    work = comm.iallreduce(np.ones(5))
    work.add_done_callback(callback)
    work.wait()
    assert called.wait(10)
    assert seen == [comm.size]


def test_testing_ends_well_without_a_wait(comm):
    work = comm.iallreduce(np.ones(5))
    while not work.test():
        pass
    assert work.wait()[0] == comm.size


@pytest.mark.mpi(min_size=2)
def test_waiting_in_vain_for_a_late_rank_leaves_the_work_under_way(comm, mpi):
    if comm.rank == 0:
        mpi.COMM_WORLD.recv(source=comm.size - 1, tag=5)
    work = comm.iallreduce(np.ones(5))
    if comm.rank == comm.size - 1:
        with pytest.raises(Stalled, match="still under way"):
            work.wait(0.05)
        mpi.COMM_WORLD.send(None, 0, tag=5)
    assert work.wait()[0] == comm.size


@pytest.mark.mpi(min_size=2)
def test_an_error_reaches_wait_on_all_ranks(comm, everywhere):
    x = np.ones(4 if comm.rank else 5, np.float32)
    bad, good = comm.iallreduce(x), comm.iallreduce(np.ones(3))
    with pytest.raises(ShapeMismatch) as caught:
        bad.wait()
    assert good.wait().tolist() == [comm.size] * 3
    assert len(set(everywhere(str(caught.value)))) == 1
    bad = comm.iallreduce([1.0] if comm.rank == 1 else np.ones(1))
    with pytest.raises(TypeError, match=r"got list.*\(rank 1\)"):
        bad.wait()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_plan_runs_again_and_again_on_the_same_array(comm, name):
    x = np.empty(3 * comm.size + 1, np.float32)
    plan = comm.plan(x, algorithm=name)
    for i in range(5):
        x[:] = values(comm.rank, comm.size, x.size) + i
        assert plan.run() is x
        np.testing.assert_array_equal(x, result(comm.size, x.size) + i * comm.size)
    y = np.empty(7)
    other = comm.plan(y, "max", algorithm="ring")
    x[:], y[:] = values(comm.rank, comm.size, x.size), comm.rank
    works = [plan.start(), other.start(), plan.start()]
    for work in works:
        work.wait()
    assert y.tolist() == [comm.size - 1] * 7
    np.testing.assert_array_equal(x, result(comm.size, x.size) * comm.size)


def test_a_plan_of_halves_rounds_and_scales_every_time(comm):
    x = array_of(np.full(9, 60000.0), "float16")
    plan = comm.plan(x, "mean", deterministic=True)
    for _ in range(3):
        plan.run()
    np.testing.assert_allclose(plain(x), 60000, rtol=0.002)


def test_a_bad_plan_is_refused_on_all_ranks(comm):
    with pytest.raises(InvalidArgument, match="plan: op 'avg'"):
        comm.plan(np.ones(3), "avg")
    with pytest.raises(InvalidArgument, match="TypeError"):
        comm.plan(np.ones(3), out=np.ones(3))


def test_two_communicators_work_at_once_from_two_threads(mpi, comm):
    if mpi.Query_thread() != mpi.THREAD_MULTIPLE:
        pytest.skip("MPI was not started with THREAD_MULTIPLE")
    layout = Topology.sized([1] * comm.size)
    everywhere = [name for name in ALGORITHMS if name != "shared"]
    errors = []
    with Communicator() as one, Communicator(topology=layout) as two:

        def work(mine, factor):
            try:
                for i in range(30):
                    x = values(mine.rank, mine.size, 50 + i) * factor
                    name = everywhere[i % len(everywhere)]
                    got = mine.iallreduce(x, algorithm=name)
                    again = mine.allreduce(x, algorithm="ring")
                    expected = result(mine.size, 50 + i) * factor
                    np.testing.assert_array_equal(again, expected)
                    np.testing.assert_array_equal(got.wait(), expected)
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=work, args=args) for args in ((one, 1), (two, 3))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []


def test_an_error_that_nobody_waits_for_is_logged(comm, caplog):
    work = comm.iallreduce(np.ones(3), "add")
    comm.barrier()  # comes after it
    del work
    gc.collect()
    assert "nobody waited for it" in caplog.text
    assert "op 'add'" in caplog.text
