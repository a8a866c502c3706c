"""The doctor as users start it."""

import json
import os
import sys

import pytest
from launcher import ROOT, embedded, openmpi

MPIS = {"embedded": embedded, "openmpi": openmpi}


@pytest.fixture
def start(launch):
    def run(launcher, *options, ranks=2, **environment):
        command = [*launcher.command, "-n", ranks, launcher.python]
        if ranks is None:
            command = [launcher.python]
        return launch(
            [*command, "-m", "collectives.doctor", *options],
            timeout_s=90,
            OMP_NUM_THREADS="1",
            PYTHONPATH=str(ROOT),
            **environment,
        )

    return run


@pytest.mark.parametrize("ranks", [2, None])
@pytest.mark.parametrize("name", MPIS)
def test_the_doctor_looks_tries_and_measures(start, tmp_path, name, ranks):
    path = tmp_path / "out.json"
    options = ["--json", path, "--max-bytes", "100000"]
    code, text = start(MPIS[name](), *options, ranks=ranks)
    assert code == 0, text
    assert text.count("What to do next") == 1
    assert "all ranks: not CUDA-aware (MPIX_Query_cuda_support() is 0" in text
    found = json.loads(path.read_text("utf-8"))
    assert len(found["ranks"]) == (ranks or 1)
    assert found["transport"] == "staged"
    (host,) = found["probes"]
    assert host["memory"] == "host"
    assert host["state"] == "right"
    assert host["text"] == "buffers of 16, 4096, 65536, 100000 bytes arrived as sent"
    links = [(link["where"], link["nbytes"]) for link in found["links"]]
    assert links == ([("inside nodes", 8), ("inside nodes", 100000)] if ranks else [])
    assert all(link["seconds"] > 0 for link in found["links"])
    (library,) = found["ranks"][0]["libraries"]
    assert library["kind"] == "mpi"


def test_device_arrays_that_mpi_cannot_take_are_told_and_exit_1(start):
    code, text = start(embedded(), "--gpu-transport", "device", "--max-bytes", "64")
    assert code == 1, text
    assert "broken: gpu_transport='device': on rank 0 " in text
    assert "Traceback" not in text


def test_a_layout_that_does_not_hold_the_ranks_exits_2_with_one_line(start):
    code, text = start(embedded(), COLLECTIVES_NODES="3x3")
    assert code == 2, text
    assert text.count("doctor: ") == 1
    assert "Traceback" not in text


def test_a_file_that_cannot_be_written_exits_2_with_one_line(start, tmp_path):
    path = tmp_path / "absent" / "out.json"
    code, text = start(embedded(), "--json", path)
    assert code == 2, text
    assert text.count("doctor: ") == 1
    assert "No such file or directory" in text


CUPY = """
# What CuPy looks like to MPI; the address is in nobody's reach, as a device's is.
class Array:
    def __init__(self, data):
        where = dict(shape=data.shape, typestr="|u1", data=(1 << 40, False), version=3)
        self.__cuda_array_interface__ = where
class cuda:
    class runtime:
        getDeviceCount = staticmethod(lambda: 1)
    class Device:
        def __init__(self, number):
            assert number == 0
        def use(self):
            pass
        synchronize = use
asarray = asnumpy = Array
"""
WITH_DEVICE = """
import sys
from collectives.doctor import __main__ as doctor, findings
device = findings.Devices(True, ("A100",), "cupy", "12.4", nccl="NCCL 2.28.9 by cupy")
findings.find_devices = lambda: device
sys.exit(doctor.main(["--max-bytes", "100000"]))
"""


@pytest.mark.parametrize("name", MPIS)
def test_a_crash_on_device_memory_is_contained_and_told(launch, tmp_path, name):
    (tmp_path / "cupy.py").write_text(CUPY)
    launcher = MPIS[name]()
    command = [*launcher.command, "-n", 2, launcher.python, "-c", WITH_DEVICE]
    path = f"{ROOT}{os.pathsep}{tmp_path}"
    code, text = launch(command, timeout_s=90, PYTHONPATH=path)
    assert code == 0, text
    crash = "crashed with signal 11 (SIGSEGV) at a buffer of "
    assert f"cupy   {crash}" in text
    assert f"note: this MPI cannot take device memory, as it says: {crash}" in text
    assert "host   buffers of 16, 4096, 65536, 100000 bytes arrived as sent" in text
    assert "inside nodes" in text


def test_links_that_do_not_answer_end_the_job_in_time(launch):
    program = (
        "import sys, time\n"
        "from collectives.doctor import __main__ as doctor\n"
        "doctor.probes = lambda *_: []\n"
        "doctor.measure = lambda *_: time.sleep(60)\n"
        "sys.exit(doctor.main(['--timeout-s', '3']))\n"
    )
    launcher = embedded()
    command = [*launcher.command, "-n", 2, sys.executable, "-c", program]
    code, text = launch(command, timeout_s=50, PYTHONPATH=str(ROOT))
    assert code == 1, text
    assert "the measurement of links has not ended after 3 s" in text
