import subprocess
import sys

import pytest

from trainer.run import RANKS, main


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)


def test_help_needs_no_mpi():
    program = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from trainer.run import main\n"
        "sys.exit(main(['--help', '--recipe', 'he2016']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert "he2016" in done.stdout and "--optimizer.lr" in done.stdout


def test_the_configuration_is_printed_and_nothing_else_done(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--recipe", "he2016", "--print_config"])
    assert end.value.code == 0
    assert "recipe: he2016" in capsys.readouterr().out


def test_under_a_launcher_only_rank_0_shows_the_help(capsys, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "1")
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == ""


def test_a_mistake_beside_the_configuration_is_told_in_a_line(capsys):
    assert main(["--print_config", "--epochs", "x"]) == 2
    told = "trainer.run: --epochs: got x, expected a whole number\n"
    assert capsys.readouterr() == ("", told)


def test_a_mistake_beside_help_is_told_too(capsys):
    assert main(["--help", "--recipe", "goyal2018"]) == 2
    assert "goyal2017, he2016" in capsys.readouterr().err
