"""Whole runs, as users type them: start, plan, stop, continue, finish."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.timeout(300)  # each launch has its own deadline

ROOT = str(Path(__file__).parents[2])
TRAIN = [sys.executable, "-m", "trainer.run"]
# 3 ranks of a thin network on the digits: 14 updates an epoch, the sums order-sensitive
TINY = [
    "--model.width", "4", "--model.blocks", "[1,1]", "--epochs", "3",
    "--algorithm", "ring", "--checkpoint-every", "1", "--log-every", "4",
]  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def run(launch, mpiexec, output, *arguments, ranks=3):
    command = [mpiexec, "-n", ranks, *TRAIN, *TINY, "--output", output, *arguments]
    return launch(command, timeout_s=120, **ONE_THREAD)


def final_state(output):
    path = output / (output / "latest").read_text("utf-8")
    return torch.load(path, weights_only=True)


def assert_same_bits(one, other):
    assert one["position"] == other["position"]
    for key, tensor in one["model"].items():
        assert torch.equal(tensor, other["model"][key]), key
    assert torch.equal(one["buffers"], other["buffers"])
    for index, state in one["optimizer"]["state"].items():
        momentum = other["optimizer"]["state"][index]["momentum_buffer"]
        assert torch.equal(state["momentum_buffer"], momentum)


@pytest.fixture(scope="module")
def uninterrupted(mpiexec, tmp_path_factory):
    """Return the final state of a run that nothing disturbed, and what it wrote."""
    from conftest import call

    output = tmp_path_factory.mktemp("uninterrupted")
    code, text = run(call, mpiexec, output, "--trace", output / "trace.json")
    assert code == 0, text
    return final_state(output), output, text


def test_a_run_writes_its_metrics_and_ends_with_one_line(uninterrupted):
    _, output, text = uninterrupted
    pattern = r"final top1=[\d.]+% loss=[\d.]+ images/s=[\d.]+ allreduce=[\d.]+s"
    pattern += r" top1_median3=[\d.]+%"  # goyal2017's result is one of five epochs
    assert re.fullmatch(pattern, text.splitlines()[-1])
    lines = (output / "metrics.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "config" and kinds[-1] == "final"
    assert kinds.count("eval") == 3 and kinds.count("step") == 10
    assert events[-1]["step"] == 42
    evaluations = [event for event in events if event["event"] == "eval"]
    assert all(event["count"] == 360 for event in evaluations)


def test_a_run_says_which_ranks_were_slow(uninterrupted):
    _, output, text = uninterrupted
    assert text.count("computing an update: mean") == 1
    lines = (output / "metrics.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    (report,) = (event for event in events if event["event"] == "stragglers")
    assert report["updates"] == 42 and report["node"] == [0, 0, 0]
    assert sum(report["intervals_slowest"]) == 11  # the last one is shorter
    assert all(seconds > 0 for seconds in report["compute_s"])
    steps = [event for event in events if event["event"] == "step"]
    assert all(event["slowest_rank"] in range(3) for event in steps)


def test_a_trace_has_all_spans_of_all_ranks(uninterrupted):
    content = json.loads((uninterrupted[1] / "trace.json").read_text("utf-8"))
    spans = [event for event in content["traceEvents"] if event["ph"] == "X"]
    threads = {
        event["tid"]: event["args"]["name"]
        for event in content["traceEvents"]
        if event["name"] == "thread_name"
    }
    for rank in range(3):
        names = [s["name"] for s in spans if threads[s["tid"]] == f"rank {rank}"]
        for name in ("update", "data", "forward", "backward", "wait for gradients"):
            assert names.count(name) == 42
        assert names.count("evaluation") == names.count("checkpoint") == 3
        names = [s["name"] for s in spans if threads[s["tid"]].endswith("allreduce")]
        assert names.count("bucket 0") == 3 * 42
    assert content["otherData"]["spans_dropped"] == [0, 0, 0]


@pytest.fixture(scope="module")
def stopped(mpiexec, tmp_path_factory):
    """Return the output of a run that ended in the middle of its second epoch."""
    from conftest import call

    output = tmp_path_factory.mktemp("stopped")
    code, text = run(call, mpiexec, output, "--max-steps", "20")
    assert code == 0, text
    return output


def test_a_stopped_run_continues_to_the_same_bits(
    launch, mpiexec, uninterrupted, stopped, tmp_path
):
    code, text = run(launch, mpiexec, tmp_path, "--resume", stopped)
    assert code == 0 and "update 20" in text, text
    assert_same_bits(final_state(tmp_path), uninterrupted[0])


def test_another_number_of_ranks_may_continue(launch, mpiexec, stopped, tmp_path):
    code, text = run(launch, mpiexec, tmp_path, "--resume", stopped, ranks=2)
    assert code == 0 and "final top1=" in text, text
    assert final_state(tmp_path)["ranks"] == 2


def interrupt(mpiexec, number, ranks, *arguments, output):
    """Start a run, send a signal to the launcher once the run is under way."""
    command = [mpiexec, "-n", ranks, *TRAIN, *TINY, "--output", output, *arguments]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=os.environ | ONE_THREAD, start_new_session=True,
    )  # fmt: skip
    first = []
    for line in process.stdout:
        first.append(line)
        if line.startswith("epoch 0."):
            break
    process.send_signal(number)
    rest, _ = process.communicate(timeout=120)
    return process.returncode, "".join(first) + rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_itself_and_continues_to_the_same_bits(
    launch, mpiexec, uninterrupted, tmp_path, number
):
    code, text = interrupt(mpiexec, number, 3, output=tmp_path)
    assert code == 75 and "interrupted; go on with --resume auto" in text, text
    assert 0 < final_state(tmp_path)["position"]["step"] < 42
    code, text = run(launch, mpiexec, tmp_path, "--resume", "auto")
    assert code == 0, text
    assert_same_bits(final_state(tmp_path), uninterrupted[0])


def test_loading_processes_outlive_the_signal_that_stops_the_run(mpiexec, tmp_path):
    workers = "--workers", "1"
    code, text = interrupt(mpiexec, signal.SIGTERM, 2, *workers, output=tmp_path)
    assert code == 75, text


def test_another_model_may_not_continue(launch, mpiexec, uninterrupted):
    _, output, _ = uninterrupted
    code, text = run(launch, mpiexec, output, "--resume", "auto", "--model.width", "8")
    assert code == 2 and "--model.width 4 there, 8 here" in text
    assert text.endswith(f"give --config {output / 'config.yaml'}\n"), text


@pytest.mark.parametrize("ranks", [1, 3])
def test_no_arguments_at_all_start_goyal_on_the_digits(mpiexec, tmp_path, ranks):
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": ROOT}
    process = subprocess.Popen(
        [mpiexec, "-n", str(ranks), *TRAIN], cwd=tmp_path, text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    first = "".join(process.stdout.readline() for _ in range(4))
    process.terminate()
    process.communicate(timeout=120)
    assert "recipe goyal2017, data digits (1,437 training images)" in first
    assert f"ranks {ranks} on" in first and f"grid {ranks} x 1" in first
    assert f"* 32 images * 1 = {32 * ranks}" in first


def test_a_dry_run_prints_the_plan_and_reads_and_writes_nothing(
    launch, mpiexec, tmp_path
):
    output = tmp_path / "none"
    data = ["--data", "imagefolder", "--data-dir", tmp_path / "no-such-directory"]
    command = [mpiexec, "-n", "2", *TRAIN, "--dry-run", *data, "--output", output]
    code, text = launch(command, **ONE_THREAD)
    assert code == 0 and not output.exists()
    for words in ("grid 2 x 1", "5 buckets", "25,557,032 parameters", "of the span"):
        assert text.count(words) == 1, text
