from dataclasses import replace

import pytest
import torch
from torch import nn

from trainer import optim, recipe
from trainer.fields import Model, Optimizer
from trainer.model import ResNet, build

RATES = [0.1, 0.1, 3.2, 3.2]
PLAIN = Optimizer(momentum=0.9, weight_decay=0.0)


def one_weight(config, rates, gradient=1.0):
    """Follow one weight from 0 through updates with a constant gradient."""
    model = nn.Module()
    model.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = optim.build(model, config)
    for rate in rates:
        model.weight.grad = torch.full_like(model.weight, gradient)
        optim.advance(optimizer, lr=rate)
        optimizer.step()
    return model.weight.item()


def v_form(rates, *, corrected):
    """The form with the rate inside the average, as Caffe has it."""
    weight = average = 0.0
    previous = rates[0]
    for rate in rates:
        average = 0.9 * average * (rate / previous if corrected else 1.0) + rate
        weight, previous = weight - average, rate
    return weight


def test_momentum_is_the_u_form():
    assert one_weight(PLAIN, RATES) == pytest.approx(-19.9668, rel=1e-9)


def test_nesterov_is_the_u_form():
    nesterov = replace(PLAIN, nesterov=True)
    assert one_weight(nesterov, RATES) == pytest.approx(-24.57012, rel=1e-9)


def test_the_v_form_agrees_only_when_corrected():
    assert v_form(RATES, corrected=True) == pytest.approx(-19.9668, rel=1e-9)
    assert v_form(RATES, corrected=False) == pytest.approx(-9.8949, rel=1e-9)


def descend(weight_decay, *, rate, gradient_scale):
    model = nn.Linear(3, 1, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0, 3.0]]))
        model.bias.zero_()
    config = Optimizer(momentum=0.0, weight_decay=weight_decay)
    optimizer = optim.build(model, config)
    optim.advance(optimizer, lr=rate)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5 * gradient_scale)
    optimizer.step()
    return model.weight.detach()


@pytest.mark.parametrize(("decay", "equal"), [(0.0, True), (1e-2, False)])
def test_scaling_the_loss_is_scaling_the_rate_only_without_decay(decay, equal):
    scaled_loss = descend(decay, rate=0.1, gradient_scale=4.0)
    scaled_rate = descend(decay, rate=0.4, gradient_scale=1.0)
    assert torch.allclose(scaled_loss, scaled_rate, rtol=1e-12) is equal


@pytest.mark.parametrize(("name", "decayed"), [("he2016", 25_557_032),
                                               ("goyal2017", 25_503_912)])  # fmt: skip
def test_decay_spares_normalisation_and_nothing_else(name, decayed):
    with torch.device("meta"):
        model = ResNet(recipe.load(name).model)
    optimizer = optim.build(model, recipe.load(name).optimizer)
    count = sum(
        parameter.numel()
        for group in optimizer.param_groups
        if group["weight_decay"] == 1e-4
        for parameter in group["params"]
    )
    assert count == decayed
    every = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(every) == 161


def test_normalisation_is_found_by_type_not_by_name():
    model = build(Model(width=4, blocks=(1,), classes=10), seed=1)
    decayed, spared = optim.split(model)
    named = {id(p): name for name, p in model.named_parameters()}
    assert "layer1.0.downsample.1.weight" in {named[id(p)] for p in spared}
    assert "fc.bias" in {named[id(p)] for p in decayed}


def test_frozen_parameters_are_not_updated():
    model = build(Model(width=4, blocks=(1,), classes=10), seed=1)
    model.fc.weight.requires_grad_(False)
    optimizer = optim.build(model, Optimizer())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert id(model.fc.weight) not in held
