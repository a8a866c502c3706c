"""The benchmark on any number of ranks: right results, and wrong ones counted."""

import numpy as np
import pytest

from bench.allreduce import run
from bench.baselines import native
from bench.elements import DTYPES, SIGNIFICAND
from bench.measure import measure
from bench.options import OPS, Options, known
from bench.roofline import Roofline, find
from collectives import InvalidArgument, algorithms

pytestmark = pytest.mark.mpi

SMALL = {"min": 4, "max": 4096, "factor": 32, "iters": 1, "warmup": 0}


def test_all_contenders_are_right_out_of_place_and_in_place(mpi):
    options = Options(tuple(known()), **SMALL)
    meta, rows = run(options, mpi.COMM_WORLD)
    present = {row.algorithm for row in rows}
    assert present | set(meta["left_out"]) == set(known())
    assert present >= {*algorithms.names(), "auto"}
    assert len(rows) == 2 * len(present) * len(options.counts())
    assert [row for row in rows if row.wrong != 0] == []
    assert all(row.ratio == 1.0 for row in rows if row.algorithm == "native")


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_op_is_right(mpi, dtype, op):
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    if op == "mean" and dtype not in SIGNIFICAND:
        with pytest.raises(InvalidArgument, match="mean"):
            Options(("ring",), dtype=dtype, op=op)
        return
    options = Options(
        ("ring", "native", *(["gloo"] if op in ("sum", "mean") else [])),
        min=300,
        max=300,
        dtype=dtype,
        op=op,
        iters=1,
        warmup=0,
    )
    meta, rows = run(options, mpi.COMM_WORLD)
    assert {row.algorithm for row in rows} >= {"ring"}
    assert [row for row in rows if row.wrong != 0] == []
    if dtype == "bfloat16":
        assert "bfloat16" in meta["left_out"]["native"]


def test_rows_are_alike_on_all_ranks(mpi):
    result = run(Options(("ring", "native"), **SMALL), mpi.COMM_WORLD)
    assert all(other == result for other in mpi.COMM_WORLD.allgather(result))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_registered_buffers_are_those_of_the_communicator(mpi, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    options = Options(
        ("ring", "auto"), sizes=(4, 4000), dtype=dtype, registered=True, iters=1
    )
    meta, rows = run(options, mpi.COMM_WORLD)
    assert "registered" in meta["buffers"]
    assert {row.wrong for row in rows} == {0}
    assert [row.size for row in rows] == [4] * 4 + [4000] * 4


def test_the_roofline_is_alike_on_all_ranks(mpi):
    found = find(mpi.COMM_WORLD)
    assert mpi.COMM_WORLD.allgather(found) == [found] * mpi.COMM_WORLD.size
    assert (found.least is None) == found.text.startswith("none")


def test_memory_limits_rows_beyond_the_caches_only(mpi):
    world = mpi.COMM_WORLD
    options = Options(("native",), sizes=(4, 400), iters=2, warmup=0)
    contenders = {"native": native(world, "sum")}
    small, large = measure(contenders, options, world, roofline=Roofline(400, ""))
    assert {row.roof for row in small} == {None}
    assert all(row.roof > 0 and row.wrong == 0 for row in large)
    assert len(large) == 2


def test_unchecked_rows_claim_nothing(mpi):
    _, rows = run(Options(("ring",), check=False, **SMALL), mpi.COMM_WORLD)
    assert {row.wrong for row in rows} == {None}
    assert {row.ratio for row in rows} == {None}


def test_rank_0_shows_the_table_and_nobody_else(mpi):
    parts = []
    run(Options(("ring",), **SMALL), mpi.COMM_WORLD, show=parts.append)
    assert bool(parts) == (mpi.COMM_WORLD.rank == 0)
    if parts:
        assert "# algorithm" in parts[0]
        assert "0 OK" in parts[-1]


def last_rank_omitted(mpi):
    def bind(x, out):
        idle = np.zeros_like(x) if mpi.rank == mpi.size - 1 else None
        return native_call(mpi, x, out, idle)

    return bind


def last_rank_doubled(mpi):
    def bind(x, out):
        return native_call(mpi, x, out, 2 * x if mpi.rank == mpi.size - 1 else None)

    return bind


def result_shifted_on_rank_0(mpi):
    def bind(x, out):
        call = native(mpi, "sum")(x, out)

        def shifted():
            call()
            if mpi.rank == 0:
                out[:] = np.roll(out, 1)

        return shifted

    return bind


def nothing_done(mpi):
    return lambda x, out: lambda: None


def native_call(mpi, x, out, instead):
    from mpi4py import MPI

    def call():
        send = x.copy() if instead is None else instead
        mpi.Allreduce(send, out, MPI.SUM)

    return call


@pytest.mark.parametrize(
    "sabotage",
    [last_rank_omitted, last_rank_doubled, result_shifted_on_rank_0, nothing_done],
)
def test_a_sabotaged_algorithm_is_counted_wrong(mpi, sabotage):
    world = mpi.COMM_WORLD
    options = Options(("native",), min=400, max=400, iters=2, warmup=0)
    contenders = {"broken": sabotage(world), "native": native(world, "sum")}
    (rows,) = measure(contenders, options, world)
    for row in rows:
        if row.algorithm == "native":
            assert row.wrong == 0
        elif not (row.in_place and sabotage is nothing_done and world.size == 1):
            assert row.wrong > 50


def test_nothing_to_measure_says_why(mpi):
    pytest.importorskip("torch")
    with pytest.raises(InvalidArgument, match="MPI has no reduction"):
        run(Options(("native",), dtype="bfloat16", **SMALL), mpi.COMM_WORLD)
