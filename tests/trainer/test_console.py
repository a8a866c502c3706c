import io
import os
import pty
from contextlib import closing

import pytest

from collectives import InvalidArgument
from trainer import console
from trainer.console import Bar, Course, Lines

CONFIG = {
    "event": "config", "time": 100.0, "step": 0, "epochs_done": 0.0,
    "max_steps": None, "settings": {"epochs": 12},
}  # fmt: skip
STEP = {
    "event": "step", "time": 103.0, "step": 40, "epochs_done": 0.36, "loss": 2.2671,
    "lr": 0.025, "images_per_s": 1812.4,
}  # fmt: skip
EVAL = {
    "event": "eval", "time": 120.0, "step": 100, "epochs_done": 1.0, "loss": 0.05,
    "top1": 98.06, "correct": 353, "count": 360,
}  # fmt: skip
EVENTS = [CONFIG, STEP, EVAL, {"event": "checkpoint", "path": "run/checkpoint.pt"}]


def shown(make, *events):
    stream = io.StringIO()
    with closing(make(stream)) as screen:
        for event in events:
            screen.event(event)
    return stream.getvalue()


def test_each_interval_evaluation_and_checkpoint_is_a_line():
    assert shown(Lines, *EVENTS).splitlines() == [
        "epoch  0.36 of 12  update   40  loss 2.2671  lr 0.025   1,812.4 images/s  "
        "0:01:37 left",
        "epoch  1.00 of 12  evaluated    loss 0.0500  top-1 98.06 % (353 of 360)",
        "checkpoint run/checkpoint.pt",
    ]


def test_lines_fit_a_screen():
    assert all(len(line) <= 96 for line in shown(Lines, *EVENTS).splitlines())


def test_a_batch_that_changes_and_images_that_are_skipped_are_told():
    phase = {
        "event": "phase", "epochs_done": 4.0, "batch": 69632, "per_worker": 32,
        "momentum": 0.94,
    }  # fmt: skip
    skipped = {**EVAL, "unreadable": 2, "unreadable_files": ["a/b.jpg", "c/d.jpg"]}
    lines = shown(Lines, CONFIG, phase, skipped).splitlines()
    assert lines[0] == (
        "epoch  4.00 of 12  batch 69,632 images in microbatches of 32, momentum 0.94"
    )
    assert lines[1].endswith(", 2 unreadable images skipped, such as a/b.jpg")


def test_the_result_is_told_as_the_source_of_the_recipe_takes_it():
    final = {
        "event": "final", "top1": 98.0, "loss": 0.05, "images_per_s": 10.0,
        "allreduce_s": 1.0,
    }  # fmt: skip
    last = {**final, "top1_median": 97.5, "top1_median_of": 5}
    lines = shown(Lines, CONFIG, final, last).splitlines()
    assert lines[1] == f"{lines[0]} top1_median5=97.50%"


def test_what_is_not_for_people_is_not_shown():
    assert shown(Lines, CONFIG, {"event": "anything"}) == ""


def test_the_time_left_counts_what_this_process_has_to_do():
    course = Course()
    course.text({**CONFIG, "epochs_done": 6.0, "step": 600})
    half = {**STEP, "epochs_done": 9.0, "step": 900, "time": 160.0}
    assert course.done(half) == 0.5
    assert "0:01:00 left" in course.text(half)


def test_the_time_left_ends_at_the_last_update_asked_for():
    course = Course()
    course.text({**CONFIG, "max_steps": 80})
    assert course.done(STEP) == 0.5
    assert course.done({**STEP, "step": 80}) == 1.0


def test_a_bar_shows_the_intervals_and_leaves_the_other_lines(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(Bar, *EVENTS)
    assert "epoch  0.36 of 12  loss 2.2671  1,812 images/s  0:01:37 left" in text
    assert "3%" in text and "━" in text
    lines = [line.rstrip() for line in text.splitlines()]
    assert any(line.endswith("checkpoint run/checkpoint.pt") for line in lines)


def test_a_bar_that_nothing_moved_is_closed():
    pytest.importorskip("rich")
    assert shown(Bar) == ""


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stream:
        yield stream
    os.close(master)


@pytest.mark.parametrize(("said", "expected"), [(None, False), ("0", False), ("1", 1)])
def test_a_terminal_without_columns_is_none_unless_the_user_says_so(
    terminal, monkeypatch, said, expected
):
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    if said is not None:
        monkeypatch.setenv("TTY_COMPATIBLE", said)
    assert terminal.isatty()
    assert console.is_terminal(terminal) == bool(expected)


def test_without_a_terminal_the_bar_is_lines_and_says_how_to_have_it(monkeypatch):
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    stream = io.StringIO()
    made = console.make("bar", stream)
    assert isinstance(made, Lines)
    assert "set TTY_COMPATIBLE=1" in stream.getvalue()


def test_a_bar_without_rich_is_refused_with_the_cure(monkeypatch):
    monkeypatch.setattr(console.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidArgument, match=r"pip install 'mpi-collectives\[rich\]'"):
        console.check("bar")
    console.check("lines")
