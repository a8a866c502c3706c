import subprocess
import sys

import pytest

WITHOUT_MPI = (
    "import sys; sys.modules['mpi4py'] = None\n"
    "from trainer.run import main\n"
    "sys.exit(main(sys.argv[1:]))"
)


def call(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_MPI, *arguments],
        capture_output=True, text=True, timeout=60, check=False, env=variables or None,
    )  # fmt: skip


@pytest.mark.parametrize("flag", ["--help", "--print_config"])
def test_help_and_configuration_need_no_mpi(flag):
    done = call("--recipe", "he2016", flag)
    assert done.returncode == 0, done.stderr
    assert "he2016" in done.stdout and done.stderr == ""


def test_under_a_launcher_only_rank_0_shows_the_help():
    done = call("--help", PMI_RANK="1")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_mistake_beside_help_is_told_too():
    done = call("--help", "--recipe", "goyal2018")
    assert done.returncode == 2
    assert "goyal2017, he2016" in done.stderr and "Traceback" not in done.stderr
