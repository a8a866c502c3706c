"""Rows of the benchmark as if they had been measured."""

from dataclasses import replace

from bench.row import Row

ROW = Row(
    algorithm="ring",
    size=4096,
    count=1024,
    dtype="float32",
    op="sum",
    in_place=False,
    time_us=10.25,
    algbw=0.4,
    busbw=0.6,
    wrong=0,
    ratio=2.0,
    percentiles_us={"min": 9.0, "p50": 10.25, "p90": 11.0, "p99": 12.0, "max": 13.0},
)


def make(algorithm="ring", size=4096, in_place=False, **fields):
    """Return a row; what is not given is that of `ROW`."""
    kind = {"algorithm": algorithm, "size": size, "in_place": in_place}
    return replace(ROW, **kind, count=size // 4, **fields)
