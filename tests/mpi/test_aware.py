"""The MPI of this lane, which no wheel builds for CUDA."""

import logging

import pytest

from collectives import Communicator, InvalidArgument, aware, mapped


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


def test_what_cannot_be_had_is_refused_on_all_ranks_alike(mpi, everywhere):
    with pytest.raises(InvalidArgument) as error:
        aware.agreed(mpi.COMM_WORLD, "device")
    assert len(set(everywhere(str(error.value)))) == 1


@pytest.mark.parametrize("name", ["gpu_transport", "overlap"])
def test_a_choice_that_there_is_not_is_refused_on_all(mpi, name):
    with pytest.raises(InvalidArgument, match=f"{name}='anything': choose from "):
        Communicator(**{name: "anything" if mpi.COMM_WORLD.rank == 0 else "off"})
