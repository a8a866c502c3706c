import json
import os
import signal
import sys
from pathlib import Path

import pytest

from collectives import job
from collectives.doctor import contained, probe

ROOT = Path(__file__).parents[1]


def sends(nbytes, rank=0):
    return json.dumps({"state": "sends", "rank": rank, "nbytes": nbytes})


ENDS = [json.dumps({"state": "ends", "rank": rank}) for rank in range(2)]
DONE = [json.dumps({"state": "right", "rank": 0, "nbytes": n}) for n in (4096, 16)]


@pytest.mark.parametrize(
    ("report", "code", "output", "state", "text"),
    [
        (DONE + ENDS, 0, "", "right", "buffers of 16, 4096 bytes arrived as sent"),
        (
            [sends(16)],
            139,
            "",
            "crashed",
            "signal 11 (SIGSEGV) at a buffer of 16 bytes",
        ),
        ([], -6, "", "crashed", "signal 6 (SIGABRT) before anything was sent"),
        (
            [sends(64)],
            None,
            "signal 15",
            "late",
            "did not end within 7 s, stopped",
        ),
        ([*ENDS, DONE[0].replace("right", "wrong")], 0, "", "wrong", "buffers of 4096"),
        (
            [],
            1,
            "\nno\nslots\n",
            "failed",
            "exit code 1 before anything was sent: no | s",
        ),
        (ENDS[:1], 0, "", "failed", "exit code 0 before anything was sent: no output"),
        (
            [sends(16), json.dumps({"state": "failed", "text": "ImportError: cupy"})],
            255,
            "KILLED BY SIGNAL: 9 (Killed)",
            "failed",
            "ImportError: cupy at a buffer",
        ),
    ],
)
def test_how_a_probe_ended_is_told_in_words(report, code, output, state, text):
    found, words = contained.judged(report, code, output, 7)
    assert found == state
    assert text in words


@pytest.mark.parametrize(
    "output",
    [
        "EXIT CODE: 11\n  EXIT STRING: Segmentation fault (signal 11)",
        "Signal: Segmentation fault (11)\nSignal code:  (0)\n... exited on\nsignal 11",
        "KILLED BY SIGNAL: 9 (Killed)\n...\nKILLED BY SIGNAL: 11 (Segmentation fault)",
    ],
)
def test_the_signal_is_found_in_what_each_launcher_prints(output):
    assert contained.fatal_signal(255, output) == 11


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """Return the function that makes a launcher of what its two ranks do."""

    def make(action, mark="HYDRA"):
        path = tmp_path / "bin" / "mpiexec"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = --version ]; then echo "{mark} build details"; exit; fi\n'
            f"shift 2\n{action}\n"
        )
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}/bin{os.pathsep}/usr/bin")
        return str(path)

    return make


def tried(timeout_s=30.0):
    return contained.probe("MPICH 5.0.2", None, "host", 64, timeout_s)


def test_a_child_that_dies_of_a_signal_is_reported(launcher):
    dies = f"{sys.executable} -c 'import os; os.kill(os.getpid(), {signal.SIGSEGV:d})'"
    launcher(dies)
    assert tried() == (
        "host",
        "crashed",
        "crashed with signal 11 (SIGSEGV) before anything was sent",
    )


def test_a_child_that_hangs_is_stopped(launcher):
    launcher("exec sleep 100")
    assert tried(0.3)[1:] == (
        "late",
        "did not end within 0.3 s, stopped before anything was sent",
    )


def test_a_child_that_ignores_the_request_to_end_is_killed(launcher, monkeypatch):
    monkeypatch.setattr(job, "GRACE_S", 0.5)
    launcher("trap '' TERM; sleep 100; sleep 100")
    assert tried(0.3).state == "late"


def test_a_child_that_says_no_is_quoted(launcher):
    launcher("echo there is no more room; exit 3")
    text = "exit code 3 before anything was sent: there is no more room"
    assert tried() == ("host", "failed", text)


def test_the_launcher_is_of_the_same_vendor_as_the_library(launcher, tmp_path):
    path = launcher("", mark="mpiexec (Open MPI) 5.0.11")
    libmpi = str(tmp_path / "lib" / "x86_64" / "libmpi.so.40")
    found = contained.find("Open MPI v5.0.11", libmpi)
    assert found[0] == path
    assert "--oversubscribe" in found
    assert contained.find("Some MPI 1.0", str(tmp_path / "lib" / "libmpi.so")) != [path]


def test_without_a_launcher_nothing_is_run(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    libmpi = str(tmp_path / "lib" / "libmpi.so")
    monkeypatch.setattr(contained, "PROGRAMS", ("mpiexec-that-nobody-has",))
    found = contained.probe("MPICH 5.0.2", libmpi, "host", 64, 1)
    assert found.state == "not run"
    assert found.text == "no launcher of MPICH 5.0.2 beside its library nor on PATH"


def test_the_environment_of_a_probe_tells_of_no_job():
    job = "PMI_RANK PMIX_NAMESPACE OMPI_COMM_WORLD_RANK HYDI_CONTROL_FD SLURM_JOB_ID"
    job += " MPI_LOCALRANKID PRTE_LAUNCHED I_MPI_HYDRA_UUID I_MPI_PIN_INFO"
    kept = "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM OMPI_MCA_osc UCX_TLS I_MPI_OFFLOAD HOME"
    found = contained.environment(dict.fromkeys((job + " " + kept).split(), "1"))
    assert found.keys() == {*kept.split(), "PYTHONPATH"}
    assert found["PYTHONPATH"] == str(ROOT)


def test_patterns_differ_between_ranks_and_from_what_was_there():
    patterns = [probe.pattern(rank, 16) for rank in (0, 1, 9)]
    assert all((a != b).all() for a, b in zip(patterns, patterns[1:], strict=False))
    assert probe.sizes(8) == [8]
