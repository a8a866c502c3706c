import io
import json

import pytest

from trainer import adapter
from trainer.console import Lines
from trainer.record import Recorder

CONFIG = {
    "epochs_done": 0.0, "max_steps": None, "step": 0, "settings": {"epochs": 2},
}  # fmt: skip
STEP = {
    "epochs_done": 0.5, "step": 1, "loss": 0.5, "lr": 0.1, "images_per_s": 8.0,
}  # fmt: skip


class Log:
    def __init__(self, *, works=True):
        self.works, self.events, self.closed = works, [], False

    def event(self, event):
        if not self.works:
            raise RuntimeError("no connection")
        self.events.append(event)

    def close(self):
        self.closed = True


@pytest.fixture
def opened(tmp_path):
    stream = io.StringIO()
    recorder = Recorder(Lines(stream))
    recorder.open(str(tmp_path), resumed=False)
    yield recorder, stream
    recorder.close()


def events(folder):
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_events_are_one_json_object_a_line(tmp_path, opened):
    recorder, _ = opened
    recorder.event("config", **CONFIG)
    recorder.event("step", **STEP)
    found = events(tmp_path)
    assert [event["event"] for event in found] == ["config", "step"]
    assert all(event["schema"] == 1 and event["time"] > 0 for event in found)
    assert found[1]["loss"] == 0.5


def test_a_resumed_run_appends_and_a_new_one_begins_again(tmp_path):
    for resumed, count in [(False, 1), (True, 2), (False, 1)]:
        recorder = Recorder(Lines(io.StringIO()))
        recorder.open(str(tmp_path), resumed=resumed)
        recorder.event("config")
        recorder.close()
        assert len(events(tmp_path)) == count


def test_the_console_is_fed_by_the_events(opened):
    recorder, stream = opened
    recorder.event("config", **CONFIG)
    recorder.event("step", **STEP)
    assert "epoch 0.50 of 2" in stream.getvalue()


def test_logs_get_what_the_file_gets(tmp_path, opened):
    recorder, _ = opened
    recorder.logs = {"one": Log(), "two": Log()}
    logs = list(recorder.logs.values())
    recorder.event("config", **CONFIG)
    recorder.event("step", **STEP)
    recorder.close()
    assert all(log.events == events(tmp_path) and log.closed for log in logs)


def test_a_log_that_fails_is_told_of_once_and_the_others_go_on(tmp_path, opened):
    recorder, stream = opened
    good = Log()
    recorder.logs = {"bad": Log(works=False), "good": good}
    for _ in range(3):
        recorder.event("config", **CONFIG)
    assert stream.getvalue().splitlines() == [
        "--log bad: stopped, RuntimeError: no connection; metrics.jsonl goes on"
    ]
    assert good.events == events(tmp_path)


def test_a_log_that_cannot_start_is_a_mistake_of_the_command_line(
    tmp_path, monkeypatch
):
    class Broken:
        @staticmethod
        def start(folder):
            raise OSError("disk full")

    monkeypatch.setattr(adapter, "find", lambda name: Broken)
    recorder = Recorder(Lines(io.StringIO()))
    with pytest.raises(adapter.InvalidArgument, match="--log wandb: .*disk full"):
        recorder.open(str(tmp_path), resumed=False, logs=["wandb"])


def test_a_silent_rank_writes_nothing(tmp_path):
    recorder = Recorder(None)
    recorder.open(str(tmp_path), resumed=False, logs=["tensorboard"])
    recorder.event("step")
    recorder.line("epoch 1")
    recorder.close()
    assert not list(tmp_path.iterdir())
