import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu-transport", "gpu"], "choose from"),
        (["--max-bytes", "0"], "--max-bytes 0: expected 1 or more"),
        (["--timeout-s", "0"], "--timeout-s 0: expected more than 0"),
        (["--timeout-s", "nan"], "--timeout-s nan: expected more than 0"),
        (["now"], "unrecognized arguments: now"),
    ],
)
def test_wrong_usage_exits_2_with_one_line(arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "collectives.doctor", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("doctor: ") == len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_without_mpi_the_cure_is_one_line(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('no such thing')\n")
    done = subprocess.run(
        [sys.executable, "-m", "collectives.doctor"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "doctor: no MPI can be loaded: no such thing; pip install "
        "'mpi-collectives[mpich]' brings one\n"
    )
