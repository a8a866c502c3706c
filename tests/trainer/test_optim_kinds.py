"""Each kind of optimiser: built as the recipe says, and stopped and continued."""

from dataclasses import replace

import pytest
import torch
from test_loop import events, start, state
from torch import nn

from collectives import InvalidArgument
from trainer import optim, recipe, valid
from trainer.fields import Lars, Model, Optimizer
from trainer.model import build
from trainer.precision import Precision
from trainer.run import execute
from trainer.settings import parse

KINDS = {
    "sgd": "--optimizer.nesterov true",
    "v": "--optimizer.form v",
    "corrected": "--optimizer.form corrected",
    "corrected_in_warmup": "--optimizer.form corrected_in_warmup",
    "lars_v": "--optimizer.kind lars --optimizer.form v --optimizer.lr 5",
    "lars_u": "--optimizer.kind lars --optimizer.lr 5 --lars.decay_in loss",
    "lars_hybrid": "--optimizer.kind lars --optimizer.form hybrid --optimizer.lr 5",
    "rmsprop_warmup": "--optimizer.kind rmsprop_warmup",
    "lamb": "--optimizer.kind lamb --optimizer.lr 0.02 --lars.skip bn_bias",
}
BASE = "--optimizer.nesterov false --lr.warmup_epochs 45 --batch.per_worker 240"


def flags(kind):
    return [*BASE.split(), *KINDS[kind].split()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_of_any_kind_continues_to_the_same_bits(tmp_path, kind):
    execute(start(tmp_path / "whole", *flags(kind)))
    execute(start(tmp_path / "parts", *flags(kind), "--max-steps", "3"))
    execute(start(tmp_path / "parts", *flags(kind), "--resume", "auto"))
    one, other = state(tmp_path / "whole"), state(tmp_path / "parts")
    for key, tensor in one["model"].items():
        assert torch.equal(tensor, other["model"][key]), key


@pytest.mark.parametrize("kind", ["corrected", "lars_v", "rmsprop_warmup", "lamb"])
def test_the_loss_falls_with_any_kind(tmp_path, kind):
    more = "--log-every 1 --epochs 5 --lr.warmup_epochs 0 --lr.shape constant"
    execute(start(tmp_path, *flags(kind), *more.split(), "--batch.per_worker", "96"))
    losses = [event["loss"] for event in events(tmp_path) if event["event"] == "step"]
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_what_overflows_is_skipped_by_an_optimiser_that_is_not_fused(bad):
    layer = nn.Linear(2, 2, bias=False)
    optimizer = optim.build(layer, Optimizer(kind="lars", form="v"))
    computing = Precision("float16", "cpu")
    before = layer.weight.detach().clone()
    for factor, same in ((bad, True), (1.0, False)):
        optimizer.zero_grad()
        computing.backward(layer(torch.ones(1, 2)).sum() * factor)
        computing.step(optimizer)
        assert torch.equal(layer.weight, before) is same


def groups(config, lars):
    model = build(Model(width=4, blocks=(1,), classes=10), seed=1)
    named = {parameter: name for name, parameter in model.named_parameters()}
    return {
        named[parameter]: (group["weight_decay"], group.get("skip", False))
        for group in optim.build(model, config, lars=lars).param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("decay_bn", [False, True])
@pytest.mark.parametrize("decay_fc_bias", [False, True])
@pytest.mark.parametrize("skip", ["none", "bn_bias"])
def test_decay_and_skip_list_go_by_group(decay_bn, decay_fc_bias, skip):
    config = Optimizer(
        kind="lars",
        weight_decay=0.5,
        decay_bn=decay_bn,
        decay_fc_bias=decay_fc_bias,
    )
    found, skips = groups(config, Lars(skip=skip)), skip == "bn_bias"
    assert found["conv1.weight"] == found["fc.weight"] == (0.5, False)
    assert found["fc.bias"] == (0.5 * decay_fc_bias, skips)
    for name in ("bn1.weight", "bn1.bias", "layer1.0.downsample.1.weight"):
        assert found[name] == (0.5 * decay_bn, skips)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--optimizer.form hybrid", "expected one of u, v, corrected, corrected_in"),
        ("--optimizer.kind lamb", "optimizer.nesterov: got true with .*lamb"),
        ("--optimizer.momentum 1", "expected at least 0 and below 1"),
        ("--lars.eps_rule threshold", "--lars.eps: got 0"),
    ],
)
def test_what_an_optimiser_does_not_have_is_refused(line, words):
    with pytest.raises(InvalidArgument, match=words):
        parse(line.split())


def test_another_optimiser_may_not_continue(tmp_path):
    execute(start(tmp_path, "--max-steps", "1"))
    with pytest.raises(InvalidArgument, match="--optimizer.form u there, v here"):
        start(tmp_path, "--resume", "auto", "--optimizer.form", "v")


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_has_an_optimiser(name):
    values = recipe.load(name)
    valid.check_optimizer(values)
    small = build(replace(values.model, width=4, blocks=(1,)), seed=1)
    optim.build(small, values.optimizer, lars=values.lars, rmsprop=values.rmsprop)


def test_labels_are_smoothed_in_training_only(tmp_path):
    for share in ("0", "0.5"):
        more = ["--label_smoothing", share, "--max-steps", "1", "--log-every", "1"]
        execute(start(tmp_path / share, *more, "--optimizer.lr", "1e-20"))
    plain, smooth = (
        {event["event"]: event for event in events(tmp_path / share)}
        for share in ("0", "0.5")
    )
    assert plain["step"]["loss"] != pytest.approx(smooth["step"]["loss"], rel=1e-6)
    assert plain["eval"]["loss"] == pytest.approx(smooth["eval"]["loss"], rel=1e-9)


def test_normalisation_takes_eps_and_decay_from_the_recipe(tmp_path):
    run = start(tmp_path, "--bn.eps", "2e-5", "--bn.decay", "0.75")
    run.recorder.close()
    assert (run.model.bn1.eps, run.model.bn1.momentum) == (2e-5, 0.25)
