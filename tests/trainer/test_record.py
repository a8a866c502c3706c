import io
import json

from trainer.record import Recorder


def test_events_are_one_json_object_a_line(tmp_path):
    recorder = Recorder(io.StringIO())
    recorder.open(str(tmp_path / "new"), resumed=False)
    recorder.event("step", loss=0.5)
    recorder.event("final", top1=98.0)
    recorder.close()
    lines = (tmp_path / "new" / "metrics.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["step", "final"]
    assert all(event["schema"] == 1 and event["time"] > 0 for event in events)
    assert events[0]["loss"] == 0.5


def test_a_resumed_run_appends_and_a_new_one_begins_again(tmp_path):
    for resumed, count in [(False, 1), (True, 2), (False, 1)]:
        recorder = Recorder(io.StringIO())
        recorder.open(str(tmp_path), resumed=resumed)
        recorder.event("config")
        recorder.close()
        text = (tmp_path / "metrics.jsonl").read_text("utf-8")
        assert len(text.splitlines()) == count


def test_lines_are_whole_and_flushed():
    stream = io.StringIO()
    Recorder(stream).line("epoch 1")
    assert stream.getvalue() == "epoch 1\n"


def test_a_silent_rank_writes_nothing(tmp_path):
    recorder = Recorder(None)
    recorder.open(str(tmp_path), resumed=False)
    recorder.event("step")
    recorder.line("epoch 1")
    recorder.close()
    assert not list(tmp_path.iterdir())
