import logging
import math
import threading

import numpy as np
import pytest
from inputs import result, values

from collectives import (
    CollectiveError,
    Communicator,
    InvalidArgument,
    ShapeMismatch,
    Topology,
    UnsupportedTopology,
)

pytestmark = pytest.mark.mpi


def test_rank_size_and_topology_are_those_of_mpi(comm, mpi):
    assert (comm.rank, comm.size) == (mpi.COMM_WORLD.rank, mpi.COMM_WORLD.size)
    assert comm.topology.size == comm.size
    assert len(comm.topology.nodes) == 1


def test_split_makes_communicators_of_the_same_color(comm):
    color = comm.rank % 2
    with comm.split(color, key=-comm.rank) as part:
        mine = range(color, comm.size, 2)
        assert part.size == len(mine)
        assert part.rank == part.size - 1 - comm.rank // 2
        assert part.allreduce(np.array(comm.rank)) == sum(mine)


def test_a_rank_without_a_color_gets_none(comm):
    part = comm.split(None if comm.rank == 0 else 7)
    assert (part is None) == (comm.rank == 0)
    if part is not None:
        assert part.allreduce(np.ones(3)).tolist() == [comm.size - 1] * 3
        part.close()
    assert comm.allreduce(np.array(1)) == comm.size


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((2**31,), r"color=2147483648: expected None or a number from 0, below 2"),
        ((-1,), "color=-1: expected None"),
        ((0, 2**31), "key=2147483648: expected a number of 32 bits"),
    ],
)
def test_a_color_that_mpi_cannot_take_is_refused_on_all_ranks(comm, arguments, words):
    arguments = arguments if comm.rank == comm.size - 1 else (0,)
    with pytest.raises(InvalidArgument, match=words):
        comm.split(*arguments)
    comm.barrier()


@pytest.mark.parametrize("timeout_s", [None, "60", 0, -1.0, math.nan])
def test_a_time_that_is_none_is_refused(timeout_s):
    with pytest.raises(InvalidArgument, match="timeout_s=.*expected seconds above 0"):
        Communicator(timeout_s=timeout_s)


def test_a_time_may_be_without_end():
    with Communicator(timeout_s=math.inf) as comm:
        comm.barrier()


def test_a_close_that_the_others_do_not_make_leaves_it_open(comm):
    if comm.size == 1:
        return
    with Communicator() as ours:
        with pytest.raises(ShapeMismatch, match=r"called close\(\)"):
            (ours.close if ours.rank == 0 else ours.barrier)()
        assert ours.allreduce(np.array(1)) == ours.size
    assert ours.shared_bytes == 0


def test_a_callback_cannot_close():
    with Communicator() as ours:
        ours.iallreduce(np.ones(4)).wait()
        thread = ours._lane.thread
        ours._lane.thread = threading.current_thread()  # as callbacks see it
        with pytest.raises(CollectiveError, match="a callback cannot wait"):
            ours.close()
        ours._lane.thread = thread
        ours.barrier()


def test_parts_keep_the_nodes_of_their_ranks():
    world = Communicator()
    sizes = [1, world.size - 1] if world.size > 1 else [1]
    with Communicator(topology=Topology.sized(sizes)) as comm:
        with comm.split(0) as whole:
            assert [len(node) for node in whole.topology.nodes] == sizes
        with comm.split(comm.topology.node_of[comm.rank]) as node:
            assert len(node.topology.nodes) == 1
    world.close()


def test_parts_work_at_once_while_the_whole_is_working(comm):
    work = comm.iallreduce(values(comm.rank, comm.size, 5000), algorithm="ring")
    part = comm.split(comm.rank % 2)
    if comm.rank % 2:
        part.allreduce(np.ones(9))
    np.testing.assert_array_equal(work.wait(), result(comm.size, 5000))
    part.close()


def test_a_closed_communicator_refuses_every_call():
    comm = Communicator()
    work = comm.iallreduce(np.ones(3))
    plan = comm.plan(np.ones(3))
    comm.close()
    comm.close()
    assert work.wait().tolist() == [comm.size] * 3
    for call in (
        lambda: comm.allreduce(np.ones(3)),
        lambda: comm.iallreduce(np.ones(3)),
        lambda: comm.barrier(),
        lambda: comm.split(0),
        lambda: comm.broadcast_object(1),
        plan.run,
        plan.start,
    ):
        with pytest.raises(CollectiveError, match="has been closed"):
            call()


def test_a_with_block_closes_at_its_end_and_lets_errors_out():
    with Communicator() as comm:
        comm.barrier()
    with pytest.raises(CollectiveError, match="has been closed"):
        comm.barrier()
    with pytest.raises(ZeroDivisionError), Communicator() as comm:
        raise ZeroDivisionError
    comm.close()


def test_many_communicators_can_be_made_one_after_the_other():
    for _ in range(8):
        with Communicator() as comm:
            comm.barrier()


def test_a_topology_of_another_size_is_refused(comm):
    with pytest.raises(UnsupportedTopology, match=f"for a communicator of {comm.size}"):
        Communicator(topology=Topology.uniform(local=comm.size + 1))
    with pytest.raises(UnsupportedTopology, match="does not hold"):
        Communicator(grid=(comm.size + 1, 1))


@pytest.mark.mpi(min_size=2)
def test_ranks_with_different_layouts_are_told(comm):
    sizes = [comm.size] if comm.rank else [1] * comm.size
    with pytest.raises(ShapeMismatch, match=r"Communicator\(.*on 1 node.*nodes of 1"):
        Communicator(topology=Topology.sized(sizes))


def test_the_environment_can_pretend_nodes(comm, monkeypatch):
    monkeypatch.setenv("COLLECTIVES_NODES", f"{comm.size}x1")
    with Communicator() as pretended:
        assert len(pretended.topology.nodes) == comm.size
        for name in ("hierarchical", "split_rail", "torus2d", "pipelined"):
            got = pretended.allreduce(np.arange(5.0), algorithm=name)
            np.testing.assert_array_equal(got, np.arange(5.0) * comm.size)
    monkeypatch.setenv("COLLECTIVES_NODES", "17x3")
    with pytest.raises(UnsupportedTopology, match=f"adding up to {comm.size} ranks"):
        Communicator()


def test_rank_0_says_once_what_was_chosen(caplog):
    with caplog.at_level(logging.INFO, "collectives"), Communicator() as comm:
        for _ in range(3):
            comm.allreduce(np.ones(4), algorithm="ring")
    told = [record.getMessage() for record in caplog.records]
    layout, table = comm.topology.describe(), "tuned tables are off"
    expected = [layout, table, "allreduce of 32 bytes: ring"]
    assert told == (expected if comm.rank == 0 else [])


def test_the_explanation_names_the_choice(comm):
    for dtype in ("float32", "bfloat16", "uint8"):
        for registered in (False, True):
            assert "->" in comm.explain(1 << 20, dtype, registered)
    with pytest.raises(InvalidArgument, match="choose from float16, bfloat16"):
        comm.explain(4, "float8")
