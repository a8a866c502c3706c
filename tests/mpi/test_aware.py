"""The MPI of this lane, which no wheel builds for CUDA."""

import logging

import pytest

from collectives import InvalidArgument, aware, mapped


def test_the_library_of_this_process_is_the_one_that_is_asked(mpi):
    libraries = [one for one in mapped.libraries() if one.kind == "mpi"]
    assert len(libraries) == 1
    assert hasattr(mapped.opened(libraries[0].path), "MPI_Init")


def test_a_wheel_says_that_it_is_not_aware(mpi, everywhere):
    found = aware.verdict(mpi.COMM_WORLD)
    assert found.aware is False
    assert "MPIX_Query_cuda_support() is 0" in found.reasons
    assert len(set(everywhere(found))) == 1


@pytest.mark.parametrize("asked", ["auto", "staged"])
def test_device_arrays_are_staged_and_rank_0_says_so_once(mpi, asked, caplog):
    world = mpi.COMM_WORLD
    with caplog.at_level(logging.INFO, "collectives"):
        assert aware.agreed(world, asked) == "staged"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (world.rank == 0)
    assert all("device arrays: staged" in text for text in said)


@pytest.mark.parametrize("asked", ["device", "anything"])
def test_what_cannot_be_had_is_refused_on_all_ranks_alike(mpi, asked, everywhere):
    with pytest.raises(InvalidArgument) as error:
        aware.agreed(mpi.COMM_WORLD, asked)
    assert len(set(everywhere(str(error.value)))) == 1


def test_ranks_that_ask_for_different_ones_are_refused_on_all(mpi):
    world = mpi.COMM_WORLD
    for last in range(1, world.size):
        with pytest.raises(InvalidArgument, match=f"rank {last} asks for 'staged', "):
            aware.agreed(world, "staged" if world.rank == last else "auto")
