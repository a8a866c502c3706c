"""A command line with a mistake ends in one line and exit code 2, in all commands."""

import importlib
import sys

import pytest

from collectives import InvalidArgument, usage

COMMANDS = [
    "collectives.doctor.__main__",
    *(f"collectives.{name}" for name in ("explain", "show", "simulate", "verify")),
    *(f"trainer.{name}" for name in ("export", "data.__main__", "recipes.__main__")),
    *(f"bench.{name}" for name in ("allreduce", "calibrate", "compare")),
    *(f"bench.{name}" for name in ("device", "lanes", "largebatch", "plot", "tune")),
]


def test_a_parser_raises_what_is_wrong_and_where_to_read_more():
    parser = usage.Parser(prog="python -m thing")
    parser.add_argument("--size", type=int, choices=[1, 2])
    with pytest.raises(InvalidArgument) as caught:
        parser.parse_args(["--size", "3"])
    text = str(caught.value)
    assert "--size" in text and "3" in text and "choose from" in text
    assert text.endswith("(python -m thing --help tells more)")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mistake_is_one_line_and_exit_code_2(name, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # no rank: this process is alone
    assert importlib.import_module(name).main(["--no-such-flag"]) == 2
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    command = name.removesuffix(".__main__")
    assert told.out == "" and command.split(".")[-1] in line.split(": ")[0]
    assert line.endswith(f"(python -m {command} --help tells more)")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--workers", "4"], "name the recipe to plan for, one of akiba2017, "),
     (["goyal2017", "--workers", "0"], "--workers: got 0, expected at least 1")],
)  # fmt: skip
def test_a_plan_needs_a_recipe_and_workers(arguments, words, capsys):
    recipes = importlib.import_module("trainer.recipes.__main__")
    assert recipes.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and words in told.err and told.err.count("\n") == 1
