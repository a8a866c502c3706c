import pytest

from bench.options import WrongUsage
from bench.tune import parse


def test_sizes_go_to_256_megabytes_and_quickly_to_one():
    options, output = parse([])
    assert (options.min, options.max, options.factor) == (4, 256 << 20, 4)
    assert output is None
    quick, _ = parse(["--quick"])
    assert len(quick.counts()) < len(options.counts())
    assert quick.iters < options.iters


def test_what_is_given_goes_before_what_is_usual():
    options, output = parse(["--quick", "--max", "4K", "--output", "table.json"])
    assert options.max == 4096
    assert output == "table.json"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--max 2", "1 <= min <= max"),
        ("--iters 0", "--iters 0: expected at least 1"),
        ("--factor 1", "--factor 1: expected at least 2"),
        ("--max much", "suffix K, M or G"),
        ("--speed 3", "unrecognized arguments: --speed 3"),
    ],
)
def test_wrong_usage_is_told(arguments, message):
    with pytest.raises(WrongUsage, match=message):
        parse(arguments.split())
