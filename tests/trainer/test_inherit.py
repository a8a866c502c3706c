from dataclasses import replace

import pytest
import torch
from test_loop import start, state

from collectives import InvalidArgument
from trainer import inherit, recipe
from trainer.fields import Model
from trainer.run import execute

HERE = Model(width=4, blocks=(1, 1), classes=10)
SHORT = "--max-steps", "3"


def from_before(output, *flags):
    """Prepare a run that begins with the weights of the one in ``output/before``."""
    begin = "--start-from", str(output / "before")
    return start(output / "after", *begin, *SHORT, *flags)


def test_all_but_weights_and_running_averages_is_fresh(tmp_path):
    execute(start(tmp_path / "before", *SHORT))
    fresh, run = start(tmp_path / "fresh"), from_before(tmp_path, "--seed", "5")
    assert (run.epoch, run.step, run.samples_seen) == (0, 0, 0)
    assert run.reducer.order == fresh.reducer.order
    mine, theirs = (r.optimizer.state_dict() for r in (run, fresh))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    stored = state(tmp_path / "before")["model"]
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, stored[name]), name
    for part in (fresh, run):
        part.recorder.close()


@pytest.mark.parametrize("averaged", [False, True])
def test_averages_of_the_weights_are_taken_where_there_are_some(tmp_path, averaged):
    execute(start(tmp_path / "before", *SHORT, *["--ema_decay", "0.5"] * averaged))
    run = from_before(tmp_path, "--ema_decay", "0.9")
    run.recorder.close()
    content = state(tmp_path / "before")
    stored = content["ema" if averaged else "model"]
    stored = stored["model"] if averaged else stored
    if averaged:
        assert not torch.equal(stored["fc.weight"], content["model"]["fc.weight"])
    for network in (run.model, run.ema.model):
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, stored[name]), name


def test_a_restarted_job_goes_on_with_its_own_weights(tmp_path, capsys):
    execute(start(tmp_path / "before", *SHORT))
    execute(from_before(tmp_path, "--resume", "auto"))
    assert "begins with the weights of" in capsys.readouterr().out
    (tmp_path / "before").rename(tmp_path / "gone")
    run = from_before(tmp_path, "--resume", "auto")
    run.recorder.close()
    assert run.step == 3
    assert "resumed at epoch 0, update 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"blocks": (1, 2)}, r"--model.blocks \[1,1\] there, \[1,2\] here"),
        ({"width": 8}, "--model.width 4 there, 8 here"),
        ({"classes": 9}, "--model.classes 10 there, 9 here"),
        ({"stride": "v1.5"}, "--model.stride v1 there, v1.5 here"),
        ({"blurpool": True}, "--model.blurpool false there, true here"),
        ({"width": 8, "classes": 9}, "width 4 there, 8 here; --model.classes 10"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_difference(change, words):
    config = {f"model.{name}": value for name, value in vars(HERE).items()}
    with pytest.raises(InvalidArgument, match=f"^--start-from: .*{words}.*; give its"):
        inherit.check(config, replace(HERE, **change))


def test_another_initialisation_is_no_other_network():
    config = {f"model.{name}": value for name, value in vars(HERE).items()}
    inherit.check(config, replace(HERE, zero_gamma=True, fan_mode="fan_in"))


def test_the_published_collapse_has_the_network_of_its_run():
    values = recipe.load("codreanu2017")
    inherit.check(
        dict(recipe.flatten(values)), recipe.load("codreanu2017:collapse").model
    )


def test_a_plan_says_with_what_a_run_begins(tmp_path, capsys):
    execute(start(tmp_path / "before", *SHORT))
    for flags, told in {
        ("--start-from",): f"begins with the weights of {tmp_path}/before/check",
        ("--resume",): "resumed at epoch 0, update 3",
    }.items():
        start(tmp_path / "after", *flags, str(tmp_path / "before"), "--dry-run")
        assert capsys.readouterr().out.splitlines()[-1].startswith(told)
    assert not (tmp_path / "after").exists()
    with pytest.raises(InvalidArgument, match="^--start-from: no checkpoint"):
        start(tmp_path / "after", "--start-from", str(tmp_path), "--dry-run")


def test_a_recipe_that_needs_weights_says_so(tmp_path, capsys):
    execute(start(tmp_path / "before", *SHORT))
    collapse = "--recipe", "codreanu2017:collapse", "--virtual-workers", "2"
    begin = "--start-from", str(tmp_path / "before")
    for flags, times in {(): 1, ("--resume", "auto"): 1, begin: 0}.items():
        start(
            tmp_path / "after", *collapse, *flags, "--model.stride", "v1.5", "--dry-run"
        )
        told = "random weights, not with those of codreanu2017 after 85 epochs: --start"
        assert capsys.readouterr().out.count(told) == times


def test_a_missing_run_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(
        InvalidArgument, match="^--start-from: no checkpoint at .*before"
    ):
        from_before(tmp_path)
    assert not (tmp_path / "after").exists()
