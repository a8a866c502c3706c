"""All ranks choose alike: by what rank 0 reads, wherever the others look."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from tables import line, table

from collectives import (
    Communicator,
    InvalidArgument,
    Machine,
    ShapeMismatch,
    algorithms,
    host,
    tuned,
)

pytestmark = pytest.mark.mpi

EVERYWHERE = 0, 1 << 20


@pytest.fixture
def folder():
    """A folder of this rank; pytest's own is tidied up by all ranks at once."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def tables(folder, layout, name):
    """Write a table in which one choice is the best, on this rank; return its path."""
    lines = [
        line(*EVERYWHERE, name, [(4, {name: 1.0})], dtype=dtype)
        for dtype in tuned.CLASSES
    ]
    path = str(folder / "table.json")
    table(layout=layout, lines=lines).write(path)
    return path


def layout_of(comm):
    return comm.topology.layout


@pytest.mark.parametrize("name", ["tree", "ring segment=8 depth=5", "torus2d depth=1"])
def test_a_table_on_rank_0_alone_decides_for_all(
    comm, everywhere, folder, monkeypatch, name
):
    monkeypatch.setenv(tuned.VARIABLE, str(folder / "absent.json"))
    if comm.rank == 0:
        path = tables(folder, layout_of(comm), name)
        monkeypatch.setenv(tuned.VARIABLE, path)
    with Communicator() as tuned_comm:
        text = tuned_comm.explain(400)
        assert f"-> {name} " in text
        assert "measured at 4 bytes" in text
        assert len(set(everywhere(text))) == 1
        for dtype in (np.float32, np.float16, np.int64):
            got = tuned_comm.allreduce(np.arange(100, dtype=dtype) + comm.rank)
            ranks = comm.size * (comm.size - 1) // 2
            np.testing.assert_array_equal(got, np.arange(100) * comm.size + ranks)


def test_ranks_that_look_up_other_tables_go_by_that_of_rank_0(comm, everywhere, folder):
    name = algorithms.names()[comm.rank % 3]
    path = tables(folder, layout_of(comm), name)
    with Communicator(tuned=path) as tuned_comm:
        first = everywhere(name)[0]
        assert f"-> {first} " in tuned_comm.explain(4)
        tuned_comm.allreduce(np.ones(1, np.float32))


def test_garbage_on_rank_0_is_one_error_on_all(comm, folder):
    path = folder / "table.json"
    if comm.rank == 0:
        path.write_text("garbage")
    with pytest.raises(InvalidArgument, match="tuned table '.*table.json': Expecting"):
        Communicator(tuned=str(path))
    comm.barrier()


def test_garbage_in_the_cache_is_ignored(comm, folder, monkeypatch):
    monkeypatch.delenv(tuned.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    path = folder / tuned.default_path(layout_of(comm), host.library())
    path.parent.mkdir(parents=True)
    path.write_text("garbage")
    with Communicator() as other:
        assert "it is ignored; predicted as on host" in other.explain(4)


def test_a_machine_is_read_by_rank_0(comm, folder):
    path = folder / "machine.json"
    if comm.rank == 0:
        Machine.load("abci").save(str(path))
    with Communicator(machine=str(path)) as other:
        assert "predicted as on abci" in other.explain(4)
    with pytest.raises(InvalidArgument, match="neither one of bigbasin"):
        Communicator(machine="nowhere")


def test_parts_of_a_communicator_do_not_go_by_the_table_of_the_whole(comm, folder):
    path = tables(folder, layout_of(comm), "tree")
    with Communicator(tuned=path) as whole, whole.split(comm.rank) as alone:
        text = alone.explain(4)
        if comm.size > 1:
            assert f"is for ranks laid out {layout_of(comm)}, not 1x1" in text


def test_the_users_choice_runs_as_it_is_written(comm):
    for name in ("ring segment=64 depth=3", "pipelined depth=6", "tree segment=4"):
        got = comm.allreduce(np.arange(500.0) + comm.rank, algorithm=name)
        ranks = comm.size * (comm.size - 1) // 2
        np.testing.assert_array_equal(got, np.arange(500.0) * comm.size + ranks)


def test_ranks_with_different_choices_are_told(comm):
    if comm.size == 1:
        return
    name = "ring depth=3" if comm.rank else "ring"
    with pytest.raises(ShapeMismatch, match="algorithm=ring depth=3"):
        comm.allreduce(np.ones(4), algorithm=name)
