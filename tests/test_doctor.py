import json
import sys
from pathlib import Path

import fake_cupy
import fake_nccl
import pytest

from collectives.aware import Verdict
from collectives.doctor import advice, diagnosis
from collectives.doctor.contained import Outcome
from collectives.doctor.diagnosis import Speed
from collectives.doctor.findings import (
    Devices,
    Findings,
    Rank,
    find_kernels,
    find_nccl,
)
from collectives.mapped import Mapped
from collectives.transports import registered, seats

ROOT = Path(__file__).parents[1]
MPI = Mapped("mpi", "/opt/lib/libmpi.so.40")
RIGHT = Outcome("host", "right", "buffers of 16 bytes arrived as sent")
GPU = Devices(
    True,
    *(("H100",) * 2, "cupy", "12.4"),
    nccl="NCCL 2.28.9",
    kernels="kernels compile",
)


def rank(number=0, **changes):
    """Return what a healthy rank without a device finds."""
    usual = Rank(
        rank=number,
        host="node1",
        cores=(2 * number, 2 * number + 1),
        threads="MPI_THREAD_MULTIPLE",
        libraries=(MPI,),
        verdict=Verdict(False, ("MPIX_Query_cuda_support() is 0",)),
        devices=Devices(present=False),
        variables={},
        shared_bytes=(64 << 20, 32 << 20),
    )
    return usual._replace(**changes)


def findings(*ranks, **changes):
    """Return what healthy ranks find."""
    usual = Findings(
        versions={"python": "3.12.1", "MPI": "An MPI 1.0"},
        layout="2 ranks on 1 node, grid 2x1",
        pretended="",
        shared=True,
        tuned="tuned table /there",
        asked="auto",
        transport="staged",
        ranks=ranks or (rank(0), rank(1)),
    )
    return usual._replace(**changes)


def advised(found=None, outcomes=(RIGHT,)):
    return [
        (one.level, one.text) for one in advice.advice(found or findings(), outcomes)
    ]


def only(found=None, outcomes=(RIGHT,)):
    """Return level and text of the one thing to do."""
    (one,) = advised(found, outcomes)
    return one


def test_where_all_is_well_there_is_nothing_to_do():
    assert advised() == []
    assert "nothing: all is well" in diagnosis.next_steps([])


def test_the_report_tells_what_was_found():
    found = findings(
        rank(0, variables={"UCX_TLS": "tcp", "NCCL_DEBUG": "INFO"}),
        rank(1, variables={"NCCL_DEBUG": "INFO"}, host="node2", devices=GPU),
    )
    lines = [line.strip() for line in diagnosis.circumstances(found).splitlines()]
    expected = """
        python             3.12.1
        2 ranks on 1 node, grid 2x1
        rank 1 on node2, cores 2, 3
        /dev/shm has 64.0 MiB, 32.0 MiB free
        tuned table /there
        NCCL_DEBUG=INFO
        UCX_TLS=tcp  (rank 0)
        UCX_TLS is unset  (rank 1)
        mpi     /opt/lib/libmpi.so.40
        rank 0: none, or not looked for
        rank 1: 2 x H100 by cupy, driver for CUDA 12.4; kernels compile; NCCL 2.28.9
        all ranks: not CUDA-aware (MPIX_Query_cuda_support() is 0)
        --gpu-transport auto: staged
    """
    for line in filter(None, map(str.strip, expected.splitlines())):
        assert line in lines


def test_a_thousand_ranks_do_not_make_a_thousand_lines():
    found = findings(*(rank(n) for n in range(1000)))
    text = diagnosis.circumstances(found)
    assert len(text.splitlines()) < 60
    assert "and 984 more ranks" in text


def test_speeds_are_shown_with_their_rate():
    text = diagnosis.measured([Speed("inside nodes", 4_000_000, 1e-3)])
    assert "inside nodes       4000000 bytes      1000.0 us    4.000 GB/s" in text
    assert "one rank has none" in diagnosis.measured([])


def test_two_libnccl_that_differ_are_broken():
    two = (Mapped("nccl", "/a/libnccl.so.2", "2.28.9"), Mapped("nccl", "/b", "2.27.3"))
    level, text = only(findings(rank(0), rank(1, libraries=two)))
    assert level == "broken"
    assert "rank 1 has loaded /a/libnccl.so.2 2.28.9 and /b 2.27.3: " in text


@pytest.mark.parametrize("kind", ["mpi", "cudart"], ids=["libmpi", "libcudart"])
def test_two_others_that_differ_are_a_warning(kind):
    two = (Mapped(kind, "/a"), Mapped(kind, "/b"))
    level, text = only(findings(rank(0, libraries=two), rank(1, libraries=two)))
    assert level == "warning"
    assert "/a and /b" in text


def test_more_ranks_than_cores_are_a_warning():
    found = findings(*(rank(n, cores=(0, 1)) for n in range(3)))
    assert only(found)[1].startswith("3 ranks share 2 cores of node1")
    apart = [rank(n, cores=(0, 1), host=f"node{n}") for n in range(3)]
    assert advised(findings(*apart)) == []


def test_two_ranks_pinned_to_one_core_are_a_warning():
    pinned = [rank(n, cores=cores) for n, cores in enumerate([(4,), (4,), (5, 6)])]
    level, text = only(findings(*pinned))
    assert (level, text.partition(":")[0]) == (
        "warning",
        "several ranks are pinned to core 4 of node1",
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pretended": "2x1"}, "warning: COLLECTIVES_NODES=2x1 pretends a layout"),
        ({"shared": False}, "warning: ranks of a node do not use shared memory: give"),
        ({"tuned": "no tuned table x"}, "note: python -m bench.tune measures"),
        ({"asked": "device", "transport": "refused"}, "broken: refused"),
        (
            {"ranks": (rank(0, threads="MPI_THREAD_SINGLE"), rank(1))},
            "warning: MPI giv",
        ),
        ({"ranks": (rank(),)}, "note: one rank has no links: mpirun -n 2 python -m"),
    ],
)
def test_what_is_not_as_it_could_be_is_told_with_the_cure(changes, expected):
    assert ": ".join(only(findings(**changes))).startswith(expected)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (GPU, []),
        (
            GPU._replace(nccl="", lack="no libnccl: pip install x"),
            ["no NCCL", "pip install x"],
        ),
        (Devices(True, driver="13.0"), ["no package can use", "[cuda13]"]),
        (
            GPU._replace(trouble=("torch: OSError: x",)),
            ["rank 0: torch: OSError: x: re"],
        ),
    ],
)
def test_what_devices_lack_is_told_with_the_line_to_type(devices, expected):
    found = findings(rank(devices=devices), rank(1))
    warned = [text for level, text in advised(found) if level == "warning"]
    assert len(warned) == bool(expected)
    assert all(part in warned[0] for part in expected)
    assert "(--gpu-transport staged): nothing to do" in advised(found)[-1][1]


@pytest.mark.parametrize(
    ("aware", "state", "level"),
    [
        (True, "right", None),
        (True, "crashed", "broken"),
        (True, "wrong", "broken"),
        (True, "late", "broken"),
        (False, "right", "note"),
        (None, "right", "note"),
        (False, "crashed", "note"),
        (None, "crashed", "note"),
        (None, "late", "note"),
        (False, "failed", "warning"),
        (True, "failed", "broken"),
    ],
)
def test_a_crash_on_device_memory_is_bad_only_where_mpi_promises_otherwise(
    aware, state, level
):
    verdict = Verdict(aware, ("it says so",))
    found = findings(*(rank(n, verdict=verdict) for n in range(2)))
    outcome = Outcome("cupy", state, "crashed with signal 11 (SIGSEGV)")
    assert [one for one, _ in advised(found, [RIGHT, outcome])] == (
        [level] if level else []
    )


@pytest.mark.parametrize("state", ["wrong", "crashed", "late", "failed"])
def test_an_mpi_that_cannot_send_host_memory_is_broken(state):
    level, text = only(outcomes=[Outcome("host", state, "what was seen")])
    assert level == "broken"
    assert "what was seen" in text


def test_an_mpi_that_was_not_tried_is_a_warning():
    assert only(outcomes=[Outcome("host", "not run", "no launcher")])[0] == "warning"


def test_what_is_broken_comes_first_and_nothing_twice():
    two = (Mapped("nccl", "/a"), Mapped("nccl", "/b"))
    crash = Outcome("host", "crashed", "x")
    found = findings(rank(libraries=two), pretended="2x1", tuned="no tuned table x")
    levels = [level for level, _ in advised(found, [crash, crash])]
    assert levels == ["broken", "broken", "warning", "note", "note"]


def test_everything_can_be_written_as_json():
    found = findings(rank(devices=GPU), rank(1))
    speeds = [Speed("inside nodes", 8, 1e-6)]
    content = diagnosis.as_json(found, [RIGHT], speeds, advice.advice(found, [RIGHT]))
    content = json.loads(json.dumps(content))
    assert content["ranks"][0]["libraries"][0]["path"] == MPI.path
    assert content["ranks"][0]["verdict"]["aware"] is False
    assert content["ranks"][0]["devices"]["names"] == ["H100", "H100"]
    assert content["probes"][0]["state"] == "right"
    assert content["links"][0]["nbytes"] == 8
    assert content["advice"][0]["level"] == "note"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "takes one rank a GPU (to share: start all with NCCL_MULTI_RANK_GPU_"),
        ({"NCCL_MULTI_RANK_GPU_ENABLE": "1"}, "takes ranks that share a GPU"),
        ({"NCCL_HOSTID": "r0"}, "takes ranks that share a GPU if their NCCL_HOSTID"),
    ],
)
@pytest.mark.parametrize("binding", ["cupy", "nccl4py"])
def test_what_nccl_can_do_is_told(monkeypatch, binding, environment, expected):
    fake_cupy.install(monkeypatch, fake_cupy.Gpu())
    fake_nccl.install(monkeypatch, fake_cupy.Gpu.made, binding)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text, lack = find_nccl()
    assert lack == ""
    start = f"NCCL 2.30.4 by {binding}, registers the memory of comm.empty, "
    assert text.startswith(start + expected)
    monkeypatch.setattr(registered, "nccl_library", lambda: None)
    assert "does not register the memory" in find_nccl()[0]


def test_an_older_nccl_does_not_know_of_ranks_that_share_a_gpu():
    told = seats.sharing({"NCCL_MULTI_RANK_GPU_ENABLE": "1"}, 22809)
    assert told.endswith("(NCCL_MULTI_RANK_GPU_ENABLE is known since NCCL 2.30)")


def test_why_there_is_no_nccl_is_told(monkeypatch):
    for package in ("cupy", "nccl"):
        monkeypatch.setitem(sys.modules, package, None)
    text, lack = find_nccl()
    assert text == "" and "device arrays need CuPy" in lack and "pip install" in lack


def test_a_kernel_is_compiled_and_what_is_missing_for_it_is_told(monkeypatch):
    fake_cupy.install(monkeypatch, fake_cupy.Gpu())
    assert find_kernels() == ("kernels compile", "")
    fake_cupy.without_compiler(monkeypatch)
    told, why = find_kernels()
    assert told == ""
    assert "RuntimeError: no NVRTC" in why and "'mpi-collectives[cuda12]'" in why
    ranks = rank(devices=GPU._replace(kernels="", uncompiled=why)), rank(1)
    assert ("broken", f"rank 0: {why}") in advised(findings(*ranks))
