import json

import pytest
import torch
from alone import Alone

from collectives import InvalidArgument
from trainer import checkpoint, update
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.run import execute
from trainer.settings import parse
from trainer.start import prepare

TINY = [
    "--model.width", "4", "--model.blocks", "[1,1]", "--model.classes", "10",
    "--images.size", "16", "--batch.per_worker", "128",
    "--epochs", "2", "--log-every", "5",
]  # fmt: skip


def start(output, *arguments):
    settings = parse([*TINY, "--output", str(output), *arguments])
    place = Place(channels_last=settings.channels_last)
    return prepare(Alone(), settings, place, Interrupt())


def events(output):
    lines = (output / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def state(output):
    return checkpoint.read(checkpoint.find(str(output), "auto"))


def test_a_run_tells_each_step_evaluation_checkpoint_and_its_end(tmp_path, capsys):
    assert execute(start(tmp_path)) == 0
    kinds = [event["event"] for event in events(tmp_path)]
    steps, evaluations = ["step"] * 2, ["eval"]
    assert kinds == [
        "config", *steps, *evaluations, *steps, *evaluations, "checkpoint", "final",
    ]  # fmt: skip
    assert "final top1=" in capsys.readouterr().out.splitlines()[-1]


def test_a_run_feeds_other_programs_logs_and_sets_them_aside(tmp_path):
    pytest.importorskip("tensorboard")
    for _ in range(2):
        execute(start(tmp_path, "--log", "tensorboard", "--max-steps", "1"))
    for place in (tmp_path, tmp_path / "earlier-1"):
        assert len(list((place / "log" / "tensorboard").iterdir())) == 1


def test_a_run_traces_itself(tmp_path):
    execute(start(tmp_path, "--trace", str(tmp_path / "trace.json")))
    content = json.loads((tmp_path / "trace.json").read_text("utf-8"))
    spans = [event["name"] for event in content["traceEvents"] if event["ph"] == "X"]
    for name in ("update", "data", "forward", "backward", "optimizer"):
        assert spans.count(name) == 22
    assert spans.count("evaluation") == 2 and spans.count("checkpoint") == 1


def test_the_rate_follows_the_recipe_at_every_update(tmp_path):
    execute(start(tmp_path, "--log-every", "1"))
    rates = [event["lr"] for event in events(tmp_path) if event["event"] == "step"]
    peak = 0.1 * 128 / 256
    drops = [22 * epoch / 90 for epoch in (30, 60, 80)]
    expected = [peak * 0.1 ** sum(i >= drop for drop in drops) for i in range(22)]
    assert rates == pytest.approx(expected)


def test_the_loss_falls(tmp_path):
    execute(start(tmp_path, "--log-every", "1", "--epochs", "8"))
    losses = [event["loss"] for event in events(tmp_path) if event["event"] == "step"]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize("steps", [3, 11, 13])
def test_a_stopped_run_continues_to_the_same_bits(tmp_path, steps, capsys):
    execute(start(tmp_path / "whole"))
    execute(start(tmp_path / "parts", "--max-steps", str(steps)))
    told = f"stopped by --max-steps {steps}; --resume auto goes on"
    assert told in capsys.readouterr().out.splitlines()[-2]
    assert state(tmp_path / "parts")["position"]["step"] == steps
    execute(start(tmp_path / "parts", "--resume", "auto"))
    one, other = state(tmp_path / "whole"), state(tmp_path / "parts")
    for key, tensor in one["model"].items():
        assert torch.equal(tensor, other["model"][key]), key
    assert torch.equal(one["rng"], other["rng"])


def test_a_signal_ends_the_run_after_the_update(tmp_path):
    run = start(tmp_path, "--trace", str(tmp_path / "trace.json"))
    run.interrupt.requested = True
    assert execute(run) == 75
    assert '"name":"update"' in (tmp_path / "trace.json").read_text("utf-8")
    assert state(tmp_path)["position"] == {"epoch": 0, "samples_seen": 128, "step": 1}


def test_the_result_is_the_median_of_the_last_epochs_where_the_paper_s_is(tmp_path):
    flags = "--epochs", "7"
    execute(start(tmp_path, *flags, "--max-steps", "30"))
    execute(start(tmp_path, *flags, "--resume", "auto"))
    top1 = {e["step"]: e["top1"] for e in events(tmp_path) if e["event"] == "eval"}
    last = events(tmp_path)[-1]
    assert last["event"] == "final" and last["top1_median_of"] == 5
    of_epochs = [top1[11 * epoch] for epoch in (3, 4, 5, 6, 7)]
    assert last["top1_median"] == sorted(of_epochs)[2]


def test_a_run_that_is_not_finished_has_no_median(tmp_path):
    execute(start(tmp_path, "--max-steps", "13"))
    assert "top1" in events(tmp_path)[-1] and "top1_median" not in events(tmp_path)[-1]


def test_the_result_of_other_papers_is_the_last(tmp_path):
    execute(start(tmp_path, "--recipe", "he2016"))
    assert "top1_median" not in events(tmp_path)[-1]


def test_a_run_resumed_from_elsewhere_leaves_what_is_in_its_output(tmp_path):
    execute(start(tmp_path / "one", "--max-steps", "3"))
    execute(start(tmp_path / "other", "--max-steps", "5"))
    names = {path.name for path in (tmp_path / "other").iterdir()}
    execute(start(tmp_path / "other", "--resume", str(tmp_path / "one")))
    kept = tmp_path / "other" / "earlier-1"
    assert {path.name for path in kept.iterdir()} == names
    assert (
        checkpoint.read(kept / "checkpoint-0000-00000640.pt")["position"]["step"] == 5
    )
    new = events(tmp_path / "other")
    assert new[0]["event"] == "config" and new[0]["step"] == 3 and not new[0]["resumed"]
    execute(start(tmp_path / "other", "--resume", "auto"))
    assert events(tmp_path / "other")[: len(new)] == new


def test_settings_that_change_on_the_way_are_told(tmp_path, capsys):
    execute(start(tmp_path, "--max-steps", "1"))
    content = state(tmp_path)
    checkpoint.write(
        tmp_path / "checkpoint-0000-00000129.pt", content | {"ranks": 4}, keep=9
    )
    for flags, told in {
        ("--epochs", "3", "--wire", "float16"): [
            "other settings than so far: 4 ranks there, 1 here; --epochs 2 there, 3 "
            "here; --wire null there, float16 here"
        ],
        ("--resume", str(tmp_path / "checkpoint-0000-00000128.pt")): [],
    }.items():
        start(tmp_path, "--resume", "auto", *flags).recorder.close()
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.startswith("other settings")] == told


def test_a_finished_run_is_only_evaluated_again(tmp_path, capsys):
    execute(start(tmp_path))
    first = events(tmp_path)[-1]
    run = start(tmp_path, "--resume", "auto")
    assert execute(run) == 0
    assert run.images == 0
    assert "\nnothing is left of 2 epochs\n" in capsys.readouterr().out
    assert events(tmp_path)[-1]["top1"] == first["top1"]


@pytest.mark.parametrize("resume", ["auto", "checkpoint-0000-00000128.pt"])
def test_another_seed_may_not_continue(tmp_path, resume):
    execute(start(tmp_path, "--max-steps", "1"))
    where = resume if resume == "auto" else str(tmp_path / resume)
    with pytest.raises(InvalidArgument, match="--seed 1 there, 2 here"):
        start(tmp_path, "--resume", where, "--seed", "2")
    assert checkpoint.find(str(tmp_path), "auto") is not None


def test_a_fresh_run_in_a_used_output_leaves_no_old_run_to_continue(tmp_path):
    execute(start(tmp_path, "--max-steps", "1"))
    run = start(tmp_path)
    run.recorder.close()
    assert checkpoint.find(str(tmp_path), "auto") is None
    run = start(tmp_path, "--resume", "auto")
    run.recorder.close()
    assert run.step == 0


def test_microbatches_make_one_update(tmp_path):
    run = start(tmp_path, "--batch.per_worker", "32", "--batch.accumulation", "4")
    assert run.sampler.batch == 128
    execute(run)
    assert run.step == 22


def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(tmp_path):
    run = start(tmp_path)
    with torch.no_grad():
        run.model.fc.bias.fill_(float("nan"))
    with pytest.raises(update.Diverged, match="nan at update 0.*--optimizer.lr"):
        execute(run)
    assert checkpoint.find(str(tmp_path), "auto") is None


def test_augmentation_and_order_change_with_the_seed(tmp_path):
    for seed in (1, 2):
        execute(start(tmp_path / str(seed), "--seed", str(seed), "--max-steps", "1"))
    one, two = state(tmp_path / "1"), state(tmp_path / "2")
    assert not torch.equal(one["model"]["fc.weight"], two["model"]["fc.weight"])
