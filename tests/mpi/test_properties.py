"""Hypothesis on all ranks alike: the verdict is agreed on before it is asserted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import ALGORITHMS, EVERY_DTYPE, array_of, can, plain, result, values

pytestmark = pytest.mark.mpi

alike = settings(derandomize=True, database=None, deadline=None, max_examples=40)


@alike
@given(
    count=st.integers(0, 70),
    dtype=st.sampled_from(EVERY_DTYPE),
    op=st.sampled_from(["sum", "prod", "min", "max"]),
    name=st.sampled_from(ALGORITHMS),
    kind=st.sampled_from(["numpy", "torch"]),
    started=st.booleans(),
)
def test_any_call_is_exact(everywhere, comm, count, dtype, op, name, kind, started):
    if not can(name, dtype, op):
        return
    x = array_of(values(comm.rank, comm.size, count, op), dtype, kind)
    if started:
        got = comm.iallreduce(x, op, algorithm=name).wait()
    else:
        got = comm.allreduce(x, op, algorithm=name)
    right = np.array_equal(plain(got), result(comm.size, count, op))
    assert all(everywhere(right and got.dtype == x.dtype))
