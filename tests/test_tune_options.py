import pytest

from bench.tune import parse
from collectives import InvalidArgument


def test_sizes_go_to_256_megabytes_and_quickly_to_one():
    options, output, kinds = parse([])
    assert (options.min, options.max, options.factor) == (4, 256 << 20, 4)
    assert output is None
    assert kinds == ("float32", "half")
    quick, _, _ = parse(["--quick"])
    assert len(quick.counts()) < len(options.counts())
    assert quick.iters < options.iters


def test_what_is_given_goes_before_what_is_usual():
    options, output, kinds = parse(
        ["--quick", "--max", "4K", "--output", "table.json", "--dtype", "half"]
    )
    assert options.max == 4096
    assert output == "table.json"
    assert kinds == ("half",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--max 2", "1 <= min <= max"),
        ("--iters 0", "--iters 0: expected at least 1"),
        ("--factor 1", "--factor 1: expected at least 2"),
        ("--max much", "suffix K, M or G"),
        ("--dtype float64", "float64"),
        ("--speed 3", "unrecognized arguments: --speed 3"),
    ],
)
def test_wrong_usage_is_told(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        parse(arguments.split())
