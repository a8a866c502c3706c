"""Each adapter, with the program that reads its log."""

import json
import re
from importlib import import_module

import pytest

from collectives import InvalidArgument
from trainer import adapter

# The packages' own warnings change with every release of theirs.
pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = {
    "epochs": 2, "optimizer.lr": 0.1, "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 1e-4, "lr.warmup_epochs": 5.0, "lr.drops": [30.0, 60.0],
    "lr.factor": 0.1, "lr.factors": [], "lr.span_epochs": 90.0,
    "optimizer.kind": "sgd", "lr.shape": "steps", "lr.power": 2.0, "lr.end": 1e-4,
    "lars.eps": 0.0, "bn.group": 2, "bn.ghost": 0,
}  # fmt: skip
CONFIG = {
    "event": "config", "schema": 1, "time": 1000.0, "step": 0, "epoch": 0,
    "resumed": False, "recipe": "goyal2017", "data": "digits", "ranks": 4, "seed": 7,
    "batch": 256, "per_worker": 32, "accumulation": 2, "peak_lr": 0.1,
    "train_images": 512, "test_images": 360, "settings": SETTINGS,
    "sources": {"epochs": "paper"},
}  # fmt: skip


def step(number):
    return {
        "event": "step", "schema": 1, "time": 1000.0 + number, "step": number,
        "epoch": number // 3, "loss": 4.0 / number, "lr": 0.1,
    }  # fmt: skip


def evaluation(epoch):
    return {
        "event": "eval", "schema": 1, "time": 1003.0 * epoch, "step": 2 * epoch,
        "epoch": epoch, "loss": 0.5, "top1": 80.0, "correct": 288, "count": 360,
        "seconds": 0.5,
    }  # fmt: skip


FINAL = {
    "event": "final", "schema": 1, "time": 2010.0, "step": 4, "epoch": 2, "top1": 80.0,
}  # fmt: skip
EVENTS = [
    CONFIG, step(1), step(2), evaluation(1), step(3), step(4), evaluation(2), FINAL
]  # fmt: skip


def fed(name, folder, events=EVENTS):
    """Start the adapter as a run does, and tell it the events."""
    pytest.importorskip(import_module(f"trainer.adapters.{name}").PACKAGE)
    logs = adapter.start(adapter.named(name), str(folder))
    for event in events:
        logs[name].event(event)
    logs[name].close()
    return folder / adapter.FOLDER


def test_the_files_of_the_folder_are_the_adapters():
    assert adapter.names() == ["mlflow", "mlperf", "tensorboard", "wandb"]


def test_a_list_names_each_adapter_once(monkeypatch):
    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: name)
    assert adapter.named(None) == ()
    assert adapter.named("wandb, mlflow,wandb,") == ("wandb", "mlflow")


def test_an_unknown_adapter_is_refused_with_the_choices():
    with pytest.raises(InvalidArgument, match="'comet', expected some of mlflow, "):
        adapter.named("comet")


@pytest.mark.parametrize("name", adapter.names())
def test_an_adapter_that_is_not_installed_is_refused_with_the_cure(name, monkeypatch):
    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: None)
    cure = rf"--log {name}: .* not installed; pip install 'mpi-collectives\[{name}\]'"
    with pytest.raises(InvalidArgument, match=cure):
        adapter.named(name)


def test_scalars_are_the_numbers_of_an_event():
    assert adapter.scalars(step(2)) == {"train/loss": 2, "train/lr": 0.1}
    assert adapter.scalars(CONFIG) == {}
    assert adapter.scalars({"event": "eval", "top1": 1, "note": "x", "all": [1]}) == {
        "eval/top1": 1.0
    }


def board(folder):
    """Return what TensorBoard reads: {name: [(step, value)]}, and the texts' names."""
    reader = import_module("tensorboard.backend.event_processing.event_accumulator")
    read = reader.EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    tags = read.Tags()
    found = {
        name: [(event.step, event.value) for event in read.Scalars(name)]
        for name in tags["scalars"]
    }
    return found, tags["tensors"]


def test_tensorboard_reads_the_numbers_and_the_settings(tmp_path):
    scalars, texts = board(fed("tensorboard", tmp_path))
    assert scalars["train/loss"] == [(1, 4), (2, 2), (3, pytest.approx(4 / 3)), (4, 1)]
    assert scalars["eval/top1"] == [(2, 80), (4, 80)]
    assert texts == ["settings/text_summary"]


def test_tensorboard_forgets_what_a_resumed_run_does_again(tmp_path):
    fed("tensorboard", tmp_path, EVENTS[:5])
    again = [{**CONFIG, "resumed": True, "step": 2}, {**step(3), "loss": 9.0}]
    scalars, _ = board(fed("tensorboard", tmp_path, again))
    assert scalars["train/loss"] == [(1, 4), (2, 2), (3, 9)]


def test_wandb_works_without_a_network_and_keeps_its_id(tmp_path, monkeypatch):
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    folder = fed("wandb", tmp_path)
    first = (folder / "wandb-id").read_text("utf-8")
    fed("wandb", tmp_path, [{**CONFIG, "resumed": True}, step(4), FINAL])
    assert (folder / "wandb-id").read_text("utf-8") == first
    kept = list((folder / "wandb").glob(f"offline-run-*-{first}/*.wandb"))
    assert kept and all(path.stat().st_size for path in kept)


def test_mlflow_has_numbers_and_settings_of_one_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = fed("mlflow", tmp_path, EVENTS[:4])
    fed("mlflow", tmp_path, [{**CONFIG, "resumed": True}, *EVENTS[4:]])
    store = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=store)
    run = client.get_run((folder / "mlflow-id").read_text("utf-8"))
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.lr"] == "0.1"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [
        (1, 4), (2, 2), (3, pytest.approx(4 / 3)), (4, 1)
    ]  # fmt: skip


STATES = ("init_start", "init_stop", "run_start", "run_stop")


def mlperf_lines(folder):
    lines = (folder / "mlperf.txt").read_text("utf-8").splitlines()
    return [json.loads(re.fullmatch(":::MLLOG (.*)", line)[1]) for line in lines]


def test_mlperf_tells_the_run_in_the_order_of_its_rules(tmp_path):
    found = mlperf_lines(fed("mlperf", tmp_path))
    epoch = [
        "block_start", "epoch_start", "epoch_stop", "eval_start", "eval_accuracy",
        "eval_stop", "block_stop",
    ]  # fmt: skip
    course = [line["key"] for line in found if line["key"] in (*epoch, *STATES)]
    assert course == ["init_start", "init_stop", "run_start", *epoch * 2, "run_stop"]
    values = {line["key"]: line["value"] for line in found}
    assert values["eval_accuracy"] == 0.8
    assert values["sgd_opt_base_learning_rate"] == 0.1
    assert values["global_batch_size"] == 256
    assert found[-1]["metadata"]["status"] == "success"
    numbers = [x["metadata"]["epoch_num"] for x in found if x["key"] == "epoch_stop"]
    assert numbers == [1, 2]


def test_mlperf_has_the_keys_of_the_optimiser_and_of_the_rates_shape(tmp_path):
    lars = {**SETTINGS, "optimizer.kind": "lars", "lr.shape": "poly"}
    found = mlperf_lines(fed("mlperf", tmp_path, [{**CONFIG, "settings": lars}]))
    values = {line["key"]: line["value"] for line in found}
    assert values["lars_opt_learning_rate_decay_poly_power"] == 2
    assert values["lars_opt_end_learning_rate"] == 1e-4
    assert values["lars_epsilon"] == 0.0 and values["model_bn_span"] == 64
    assert not any("boundary" in key or "sgd" in key for key in values)


def test_mlperf_has_the_epochs_of_the_run_and_no_factor_of_unequal_drops(tmp_path):
    short = {**SETTINGS, "epochs": 9, "lr.factors": [1.0, 0.2, 0.02]}
    found = mlperf_lines(fed("mlperf", tmp_path, [{**CONFIG, "settings": short}]))
    values = {line["key"]: line["value"] for line in found}
    assert values["opt_learning_rate_decay_boundary_epochs"] == [3.0, 6.0]
    assert values["opt_learning_rate_warmup_epochs"] == 0.5
    assert "opt_learning_rate_decay_factor" not in values


def test_mlperf_says_that_an_interrupted_run_was_aborted(tmp_path):
    found = mlperf_lines(fed("mlperf", tmp_path, EVENTS[:3]))
    assert found[-1]["key"] == "run_stop"
    assert found[-1]["metadata"]["status"] == "aborted"


PHASE = {
    "event": "phase", "schema": 1, "time": 1003.0, "step": 2, "epoch": 1,
    "batch": 512, "per_worker": 64, "momentum": 0.94,
}  # fmt: skip


def test_mlperf_has_each_batch_of_a_run_that_changes_it(tmp_path):
    found = mlperf_lines(fed("mlperf", tmp_path, [*EVENTS[:4], PHASE, *EVENTS[4:]]))
    batches = [line for line in found if line["key"] == "global_batch_size"]
    assert [line["value"] for line in batches] == [256, 512]
    assert batches[1]["metadata"]["epoch_num"] == 2
    values = {line["key"]: line["value"] for line in found}
    assert values["gradient_accumulation_steps"] == 2


def test_a_batch_is_a_number_of_the_training():
    numbers = {"train/batch": 512, "train/per_worker": 64, "train/momentum": 0.94}
    assert adapter.scalars(PHASE) == numbers


SUBMITTER = {
    "submission_org": "us", "submission_platform": "cpu",
    "submission_division": "open", "submission_status": "research",
    "cache_clear": True,
}  # fmt: skip


def test_mlperfs_checker_is_content_with_the_log(tmp_path):
    path = fed("mlperf", tmp_path) / "mlperf.txt"
    checker = import_module("mlperf_logging.compliance_checker.mlp_compliance")
    head = {"namespace": "", "time_ms": 1, "event_type": "POINT_IN_TIME"}
    about = {"file": "run.sh", "lineno": 1}
    lines = [
        {**head, "key": key, "value": value, "metadata": about}
        for key, value in SUBMITTER.items()
    ]
    theirs = "".join(f":::MLLOG {json.dumps(line)}\n" for line in lines)
    path.write_text(theirs + path.read_text("utf-8"), "utf-8")
    check = checker.make_checker("training", "4.0.0", False, False)
    assert check.check_file(str(path), "training_4.0.0/common.yaml")
