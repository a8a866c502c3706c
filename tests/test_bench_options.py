import argparse

import numpy as np
import pytest

from bench.command import parse_size
from bench.options import (
    BASELINES,
    OPS,
    Options,
    known,
    parse,
    parse_algorithms,
)
from collectives import InvalidArgument, algorithms


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("4", 4), ("1k", 1024), ("64M", 64 << 20), ("256m", 256 << 20), ("2G", 2 << 30)],
)
def test_sizes_have_binary_suffixes(text, nbytes):
    assert parse_size(text) == nbytes


@pytest.mark.parametrize("text", ["", "4B", "1.5M", "-1", "M", "1T"])
def test_other_sizes_are_refused_with_an_example(text):
    with pytest.raises(argparse.ArgumentTypeError, match="64M"):
        parse_size(text)


def test_all_means_ours_auto_and_both_baselines():
    assert parse_algorithms("all") == tuple(known())
    assert set(known()) == {*algorithms.names(), "auto", *BASELINES}
    assert len(set(known())) == len(known())


def test_algorithms_keep_their_order_and_count_once():
    assert parse_algorithms("torus2d, ring,torus2d") == ("torus2d", "ring")


def test_an_unknown_algorithm_is_answered_with_the_choices():
    with pytest.raises(InvalidArgument) as caught:
        parse(["--algorithms", "ring,rong"])
    assert "'rong'" in str(caught.value)
    for name in known():
        assert name in str(caught.value)


def test_the_documented_command_is_understood():
    options = parse(
        "--algorithms ring,torus2d,native --min 4 --max 64M --factor 4 --dtype float32 "
        "--op sum --iters 20 --warmup 3 --check --json out.json --csv out.csv".split()
    )
    assert options == Options(
        ("ring", "torus2d", "native"), json="out.json", csv="out.csv"
    )


def test_check_is_on_unless_refused():
    assert parse([]).check
    assert not parse(["--no-check"]).check


@pytest.mark.parametrize(
    "arguments",
    [
        ["--min", "8", "--max", "4"],
        ["--min", "0"],
        ["--factor", "1"],
        ["--iters", "0"],
        ["--warmup", "-1"],
        ["--seed", "-1"],
        ["--op", "mean", "--dtype", "int32"],
        ["--op", "average"],
        ["--dtype", "float8"],
        ["--algo", "ring"],
        ["stray"],
        ["--sizes", ""],
        ["--sizes", "4,,8"],
        ["--sizes", "0"],
        ["--sizes", "4", "--min", "4"],
        ["--plot", "out.pdf"],
        ["--plot", "svg"],
        ["--tolerance", "1"],
        ["--tolerance", "-0.1"],
        ["--tolerance", "nan"],
    ],
)
def test_wrong_usage_is_raised_not_exited(arguments):
    with pytest.raises(InvalidArgument):
        parse(arguments)


def test_sizes_grow_by_the_factor_up_to_the_last():
    options = Options(("ring",), min=4, max=1024, factor=4)
    assert options.counts() == [1, 4, 16, 64, 256]
    assert Options(("ring",), min=4, max=1023, factor=4).counts() == [1, 4, 16, 64]


def test_exact_sizes_are_taken_in_their_order():
    options = parse(["--sizes", "1M,4,102228128,1M"])
    assert options.counts() == [1 << 18, 1, 25_557_032]


@pytest.mark.parametrize("option", ["--min", "--max", "--factor"])
def test_exact_sizes_exclude_steps(option):
    with pytest.raises(InvalidArgument) as caught:
        parse(["--sizes", "4", option, "8"])
    assert "--sizes" in str(caught.value) and option in str(caught.value)


def test_what_is_not_given_is_as_in_options():
    assert parse(["--algorithms", "ring"]) == Options(("ring",))


def test_sizes_below_one_element_are_one_element_once():
    options = Options(("ring",), min=1, max=32, factor=2, dtype="float64")
    assert options.counts() == [1, 2, 4]


def test_every_op_has_a_floating_type():
    for op in OPS:
        assert Options(("ring",), dtype="float16", op=op).op == op


def test_counts_of_bfloat16_are_of_two_bytes():
    options = Options(("ring",), min=64, max=64, dtype="bfloat16")
    assert options.counts() == [64 // np.dtype(np.uint16).itemsize]
