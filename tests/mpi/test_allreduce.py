import numpy as np
import pytest

from collectives import algorithms

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("name", algorithms.names())
def test_all_ranks_get_the_exact_sum(comm, name):
    for count in (0, 1, comm.size - 1, comm.size, 3 * comm.size + 1, 10007):
        cycle = np.arange(count) % 5 + 1
        inputs = [
            (cycle * (rank + 1) % 7).astype(np.float32) for rank in range(comm.size)
        ]
        got = comm.allreduce(inputs[comm.rank], algorithm=name)
        np.testing.assert_array_equal(got, sum(inputs), strict=True)
