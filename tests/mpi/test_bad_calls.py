"""The mistake of one rank stops all with one message; then all works again."""

import numpy as np
import pytest
import torch
from inputs import result, values

from collectives import (
    CollectiveError,
    InvalidArgument,
    ShapeMismatch,
    UnsupportedArray,
)

pytestmark = pytest.mark.mpi

X = np.ones(4, np.float32)
READONLY = np.ones(4, np.float32)
READONLY.flags.writeable = False

# name: what the last rank calls, what the others call, the error, what it says
DIFFERENT = {
    "count": (
        lambda c: c.allreduce(np.ones(5, np.float32)),
        lambda c: c.allreduce(X),
        r"rank \d called allreduce\(count=5, .*, rank 0 called allreduce\(count=4, ",
    ),
    "dtype": (
        lambda c: c.allreduce(np.ones(4)),
        lambda c: c.allreduce(X),
        r"rank \d called .*dtype=float64, .*, rank 0 called .*dtype=float32, ",
    ),
    "op": (
        lambda c: c.allreduce(X, "max", algorithm="ring"),
        lambda c: c.allreduce(X, algorithm="ring"),
        "op=max.* called .*op=sum",
    ),
    "algorithm": (
        lambda c: c.allreduce(X, algorithm="ring"),
        lambda c: c.allreduce(X, algorithm="tree"),
        "algorithm=ring.* called .*algorithm=tree",
    ),
    "wire": (
        lambda c: c.allreduce(X, algorithm="ring", wire="bfloat16"),
        lambda c: c.allreduce(X, algorithm="ring"),
        "wire=bfloat16.* called .*wire=float32",
    ),
    "scale": (
        lambda c: c.allreduce(X, algorithm="ring", prescale=0.1),
        lambda c: c.allreduce(X, algorithm="ring", prescale=0.1 + 1e-15),
        "prescale=0.1, .* called .*prescale=0.100000000000001",
    ),
    "kind": (
        lambda c: c.barrier(),
        lambda c: c.allreduce(X),
        r"rank \d called barrier\(\), rank 0 called allreduce",
    ),
    "order": (
        lambda c: c.broadcast(X.copy()),
        lambda c: c.allgather(X),
        r"rank \d called broadcast\(.*, rank 0 called allgather",
    ),
    "root": (
        lambda c: c.reduce(X, root=1),
        lambda c: c.reduce(X, root=0),
        "root=1.* called .*root=0",
    ),
    "split": (
        lambda c: c.split(0),
        lambda c: c.barrier(),
        r"called split\(\), rank 0 called barrier",
    ),
    "object": (
        lambda c: c.gather_objects(1),
        lambda c: c.broadcast_object(1),
        "called gather_objects.* called broadcast_object",
    ),
    "plan": (
        lambda c: c.plan(X.copy()),
        lambda c: c.allreduce(X),
        r"rank \d called plan\(.*, rank 0 called allreduce",
    ),
}

ALONE = {
    "list": (lambda c: c.allreduce([1.0] * 4), UnsupportedArray, "got list"),
    "bool": (lambda c: c.allreduce(np.ones(4, bool)), UnsupportedArray, "dtype bool"),
    "complex": (lambda c: c.allreduce(X * 1j), UnsupportedArray, "complex64"),
    "byte order": (
        lambda c: c.allreduce(X.astype(X.dtype.newbyteorder())),
        UnsupportedArray,
        "native byte order",
    ),
    "meta": (
        lambda c: c.allreduce(torch.ones(4, device="meta")),
        UnsupportedArray,
        "on meta",
    ),
    "read-only out": (
        lambda c: c.allreduce(X, out=READONLY),
        UnsupportedArray,
        "out: .*read-only",
    ),
    "out not contiguous": (
        lambda c: c.allreduce(X, out=np.ones((4, 2), np.float32)[:, 0]),
        UnsupportedArray,
        "not contiguous",
    ),
    "out count": (
        lambda c: c.allreduce(X, out=np.ones(3, np.float32)),
        ShapeMismatch,
        "out has 3 elements",
    ),
    "out overlaps": (
        lambda c: c.allreduce(OVERLAP[:4], out=OVERLAP[1:]),
        UnsupportedArray,
        "overlaps",
    ),
    "op": (lambda c: c.allreduce(X, "avg"), InvalidArgument, "'avg': choose from sum"),
    "op is the output": (
        lambda c: c.allreduce(X, np.ones(4, np.float32)),
        InvalidArgument,
        "op: got ndarray.*out=",
    ),
    "algorithm is no name": (
        lambda c: c.allreduce(X, algorithm=7),
        InvalidArgument,
        "algorithm: got int",
    ),
    "mean of integers": (
        lambda c: c.allreduce(np.ones(4, np.int32), "mean"),
        InvalidArgument,
        "the mean of integers",
    ),
    "algorithm": (
        lambda c: c.allreduce(X, algorithm="rign"),
        InvalidArgument,
        "choose from .*ring",
    ),
    "not a reduce": (
        lambda c: c.reduce(X, algorithm="torus2d"),
        InvalidArgument,
        "for reduce: choose from .*tree",
    ),
    "wire": (
        lambda c: c.allreduce(X, wire="int8"),
        InvalidArgument,
        "wire 'int8' for an array of float32",
    ),
    "deterministic": (
        lambda c: c.allreduce(X, algorithm="ring", deterministic=True),
        InvalidArgument,
        "only 'rank_order'",
    ),
    "native bfloat16": (
        lambda c: c.allreduce(torch.ones(4).bfloat16(), algorithm="native"),
        InvalidArgument,
        "cannot combine",
    ),
    "scale": (
        lambda c: c.allreduce(X, prescale="a lot"),
        InvalidArgument,
        "allreduce: ValueError: .*a lot",
    ),
    "option": (
        lambda c: c.iallreduce(X, speed=9).wait(),
        InvalidArgument,
        "TypeError: .*unexpected keyword argument 'speed'",
    ),
    "root": (
        lambda c: c.reduce(X, root=99),
        InvalidArgument,
        "root=99: expected a rank",
    ),
    "root is no number": (
        lambda c: c.broadcast(X, root=None),
        InvalidArgument,
        "root=None: expected a rank",
    ),
    "wire is no name": (
        lambda c: c.allreduce(X, wire=["float16"]),
        InvalidArgument,
        "wire: got list; expected a name",
    ),
    "negative root": (lambda c: c.broadcast(X, root=-1), InvalidArgument, "root=-1"),
    "rows": (
        lambda c: c.alltoall(np.ones((c.size + 1, 2))),
        InvalidArgument,
        "first dimension must be the number of ranks",
    ),
    "scalar": (lambda c: c.broadcast(np.float32(1)), UnsupportedArray, "scalar"),
    "object": (
        lambda c: c.gather_objects(lambda: 0),
        InvalidArgument,
        "gather_objects: .*pickle",
    ),
    "color": (lambda c: c.split(-5), InvalidArgument, "color=-5: expected None or"),
    "color kind": (lambda c: c.split("a"), InvalidArgument, "color='a': expected None"),
}
OVERLAP = np.ones(5, np.float32)


def still_works(comm):
    for name in ("native", "ring"):
        x = values(comm.rank, comm.size, 11)
        got = comm.allreduce(x, algorithm=name)
        np.testing.assert_array_equal(got, result(comm.size, 11))


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("what", DIFFERENT)
def test_ranks_that_do_different_things_all_raise_the_same(comm, everywhere, what):
    theirs, mine, text = DIFFERENT[what]
    with pytest.raises(ShapeMismatch, match=text) as caught:
        (theirs if comm.rank == comm.size - 1 else mine)(comm)
    assert len(set(everywhere(str(caught.value)))) == 1
    assert f"rank {comm.size - 1} called" in str(caught.value)
    assert "every rank must make the same calls" in str(caught.value)
    still_works(comm)


@pytest.mark.parametrize("what", ALONE)
def test_a_bad_call_of_one_rank_is_raised_by_all(comm, everywhere, what):
    bad, kind, text = ALONE[what]
    wrong = comm.size - 1
    with pytest.raises(kind, match=text) as caught:
        if comm.rank == wrong:
            bad(comm)
        else:
            comm.allreduce(X)
    assert isinstance(caught.value, CollectiveError)
    if comm.size > 1:
        assert len(set(everywhere(str(caught.value)))) == 1
        assert str(caught.value).endswith(f"(rank {wrong})")
    still_works(comm)


@pytest.mark.parametrize("what", ALONE)
def test_a_bad_call_of_all_ranks_is_raised_by_all(comm, everywhere, what):
    bad, kind, text = ALONE[what]
    with pytest.raises(kind, match=text) as caught:
        bad(comm)
    assert len(set(everywhere(str(caught.value)))) == 1
    still_works(comm)


def test_a_grid_that_one_rank_gets_wrong_is_refused_on_all(comm):
    from collectives import Communicator, UnsupportedTopology

    wrong = (comm.size + 1, 1) if comm.rank == comm.size - 1 else None
    with pytest.raises(UnsupportedTopology, match=rf"rank {comm.size - 1}\)"):
        Communicator(grid=wrong)
