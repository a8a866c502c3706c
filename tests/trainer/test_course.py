"""The plan of a run is what the run does."""

from itertools import groupby

import pytest
from test_loop import events, start

from trainer import course, recipe
from trainer.run import execute

PHASES = "[[0,128,64],[30,256,64],[32,384,64],[60,512,128]]"


def shortened(epochs, name="smith2017"):
    return recipe.vary(recipe.load(name), given={"epochs": epochs})


def columns(lines, *indices):
    """Return some columns of a table, which has one line of titles."""
    return [[line.split()[i] for i in indices] for line in lines[1:]]


def test_a_batch_changes_with_the_first_whole_epoch_of_its_phase():
    values = shortened(14)
    assert columns(course.phase_table(values, 8), 0, 1, 2) == [
        ["0", "0", "8192"], ["30", "5", "16384"],
    ]  # fmt: skip
    rows = columns(course.rate_table(values, 8, recipe.IMAGENET), 3, 5)
    assert rows[4:6] == [["8192", "3.2"], ["16384", "0.64"]]


@pytest.mark.parametrize(
    ("epochs", "first"), [(90, "30"), (9, "3"), (4, "2"), (1, "never")]
)
def test_a_plan_says_which_epoch_a_phase_begins_with(epochs, first):
    table = columns(course.phase_table(shortened(epochs), 8), 1)
    assert table == [["0"], [first]]


def test_batch_rate_and_momentum_of_a_run_are_those_of_its_plan(tmp_path):
    run = start(
        tmp_path, "--recipe", "smith2017", "--epochs", "4", "--log-every", "1",
        "--batch.phases", PHASES, "--noise_scale.reading", "smith_le",
        "--noise_scale.reference_batch", "128",
    )  # fmt: skip
    values = run.settings.recipe
    plan = columns(course.rate_table(values, 1, 1437), 0, 1, 3, 4, 5)
    assert execute(run) == 0
    steps = [event for event in events(tmp_path) if event["event"] == "step"]
    changes = {e["epoch"]: e for e in events(tmp_path) if e["event"] == "phase"}
    batch, momentum = 128, 0.9
    for (epoch, group), row in zip(
        groupby(steps, key=lambda event: event["epoch"]), plan, strict=True
    ):
        first = next(group)
        if epoch in changes:
            batch, momentum = (changes[epoch][key] for key in ("batch", "momentum"))
        found = [str(epoch), str(first["step"] - 1), str(batch), f"{momentum:.6f}"]
        assert [*found, f"{first['lr']:.6g}"] == row
        assert first["samples_seen"] == batch
    begins = [line[0] for line in columns(course.phase_table(values, 1), 1)]
    assert begins == ["0", "never", "2", "3"] and list(changes) == [2, 3]
