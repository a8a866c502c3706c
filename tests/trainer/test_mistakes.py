import doctest
import re

import pytest

from collectives import InvalidArgument
from trainer import mistakes
from trainer.settings import parse


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--epochs many", "--epochs: got many, expected a whole number"),
        ("--epochs 1.5", "--epochs: got 1.5, expected a whole number"),
        (
            "--optimizer.nesterov maybe",
            "--optimizer.nesterov: got maybe, expected true",
        ),
        ("--virtual-workers x", "--virtual-workers: got x, .* whole number or null"),
        ("--bucket-bytes x", "--bucket-bytes: got x, expected a whole number"),
        ("--lr.warmup_start x", "--lr.warmup_start: got x, expected a number or null"),
        ("--lr.drops 3", r"--lr.drops: got 3, expected \[a number, ...\]"),
        ("--images.ramp [[1]]", r"got \[1\], expected \[\[a number, a whole number\]"),
        ("--model.blocks", "--model.blocks: expected one argument"),
        ("--lr 0.1", "--lr 0.1; perhaps you meant --optimizer.lr or --rmsprop.lr; "),
        ("--recip x", "--recip x; perhaps you meant --recipe; python -m trainer.run"),
        ("--reduction.wire float16", "; perhaps you meant --wire; "),
        ("--print-config", "--print-config; perhaps you meant --print_config; "),
        ("--zzz", "unrecognized arguments: --zzz; python -m trainer.run --help lists"),
    ],
)
def test_a_mistake_is_named_by_its_flag_with_what_is_valid(line, words):
    with pytest.raises(InvalidArgument, match=words) as caught:
        parse(line.split())
    assert "\n" not in str(caught.value)


FOUND = "--recipe", "goyal2017", "--data", "digits"  # whatever a file says


def test_a_key_of_a_file_is_named_like_a_flag(tmp_path):
    path = tmp_path / "mine.yaml"
    for text, words in {
        "epoch: 3": "no setting 'epoch'; perhaps you meant --epochs; ",
        "model: {width: x}": "--model.width: got x, expected a whole number",
        "log_every: x": "--log-every: got x, expected a whole number",
        "data: 5": "--data: got 5, expected a word",
        "recipe: 5": "--recipe: got 5, expected a word",
    }.items():
        path.write_text(text, "utf-8")
        with pytest.raises(InvalidArgument, match=re.escape(words)) as caught:
            parse([*FOUND, "--config", str(path)])
        assert str(caught.value).startswith(f"--config {path}: ")


def test_a_mistake_of_a_flag_is_not_the_file_s(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3", "utf-8")
    with pytest.raises(InvalidArgument, match="^--model.width: got x"):
        parse(["--config", str(path), "--model.width", "x"])


def test_doctests():
    assert doctest.testmod(mistakes).failed == 0
