import doctest
from math import exp

import numpy as np
import pytest
import torch
from following import assert_close, expected, follow
from references import rmsprop_warmup
from torch import nn

from collectives import InvalidArgument
from trainer.optimizers import RMSpropWarmup
from trainer.optimizers import rmsprop_warmup as module
from trainer.optimizers.rmsprop_warmup import a_sgd

PAPER = {"center": 10.0, "period": 5.0}
TABLE = {
    0: 0.0091578, 1: 0.0136619, 5: 0.0676676, 9: 0.335160, 10: 0.5,
    11: 0.7, 11.25: 0.75, 12: 0.9, 12.5: 1.0, 13: 1.0, 89.99: 1.0,
}  # fmt: skip
PRINTED = {**{e: TABLE[e] for e in (0, 1, 5, 9, 10)}, 11: 0.9, 11.25: 1.0, 12.5: 1.0}
EPOCHS = np.linspace(0, 20, 4001)


def unclamped(epoch):
    """The paper's formula, letter by letter."""
    if epoch < 10:
        return 0.5 * exp(2 * (epoch - 10) / 5)
    return 0.5 + 2 * (epoch - 10) / 5 if epoch < 12.5 else 1.0


def largest_step(values):
    return np.abs(np.diff(values)).max()


@pytest.mark.parametrize(("epoch", "value"), TABLE.items())
def test_the_weight_of_sgd_is_known(epoch, value):
    assert a_sgd(epoch, **PAPER) == pytest.approx(value, rel=5e-6)


@pytest.mark.parametrize("epoch", [0, 1, 5, 9, 9.99, 10, 11, 11.25, 12, 12.49, 13])
@pytest.mark.parametrize(("as_printed", "slope"), [(False, 1), (True, 2)])
def test_the_weight_of_sgd_follows_its_formula(epoch, as_printed, slope):
    x = (epoch - 10) / 5
    value = 0.5 * exp(2 * x) if x < 0 else min(1.0, 0.5 + slope * x)
    found = a_sgd(epoch, **PAPER, as_printed=as_printed)
    assert found == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("epoch", "value"), PRINTED.items())
def test_the_printed_weight_is_an_option_that_ends_at_one(epoch, value):
    assert a_sgd(epoch, **PAPER, as_printed=True) == pytest.approx(value, rel=5e-6)
    assert a_sgd(12, **PAPER, as_printed=True) == 1.0


def test_the_weight_of_sgd_is_continuous_monotone_and_at_most_one():
    values = [a_sgd(epoch, **PAPER) for epoch in EPOCHS]
    assert np.all(np.diff(values) >= 0)
    assert max(values) == 1.0
    assert largest_step(values) <= 1.001 * 0.005 / 5  # the slope is at most 1 / period
    assert largest_step(np.diff(values)) < 0.0011  # one bend, where it ends at 1


def test_its_slope_is_continuous_at_the_center():
    near = [a_sgd(10 + d, **PAPER) for d in (-1e-6, 0.0, 1e-6)]
    left, right = (near[1] - near[0]) / 1e-6, (near[2] - near[1]) / 1e-6
    assert left == pytest.approx(right, rel=1e-5) == pytest.approx(1 / 5, rel=1e-5)


def test_the_printed_formula_is_not():
    values = [unclamped(epoch) for epoch in EPOCHS]
    assert [unclamped(e) for e in (11, 11.25, 12)] == pytest.approx([0.9, 1.0, 1.3])
    assert max(values) > 1.49
    assert not np.all(np.diff(values) >= 0)
    assert largest_step(values) > 0.49
    printed = [a_sgd(10 + d, **PAPER, as_printed=True) for d in (0.0, 1e-6)]
    assert (printed[1] - printed[0]) / 1e-6 == pytest.approx(2 / 5, rel=1e-4)


def test_the_first_step_is_known():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = RMSpropWarmup([weight], lr=6.4)
    of_sgd, of_rmsprop = module.shares(optimizer.param_groups[0])
    assert of_rmsprop == pytest.approx(4.644573e-5, rel=1e-6)
    assert 6.4 * of_sgd == pytest.approx(0.0586, abs=5e-5)
    weight.grad = torch.full_like(weight, 0.01)
    optimizer.step()
    direction = optimizer.state[weight]["direction"].item()
    assert direction == pytest.approx(-0.00055603, abs=5e-9)
    assert weight.item() == pytest.approx(-0.0035586, abs=5e-8)


CHANGES = [
    {"lr": lr, "epoch": epoch}
    for lr, epoch in [(6.4, 0.0), (6.4, 0.5), (6.4, 9.99), (3.2, 10.5), (0.96, 12.4),
                      (0.96, 12.5), (0.128, 70.0)]
]  # fmt: skip


def test_it_follows_its_formula_through_the_transition():
    groups = [{"weight_decay": 1e-4}, {"weight_decay": 0.0, "lr_rmsprop": 1e-3}]
    got = follow(RMSpropWarmup, groups, CHANGES)
    assert_close(got, expected(rmsprop_warmup, groups, CHANGES))


def test_afterwards_it_is_momentum_sgd():
    groups = [{"weight_decay": 1e-4}, {"weight_decay": 0.0}]
    changes = [{"lr": lr, "epoch": 20.0} for lr in (6.4, 6.4, 0.96)]
    sgd = follow(torch.optim.SGD, groups, [{"lr": c["lr"]} for c in changes],
                 momentum=0.9)  # fmt: skip
    assert_close(follow(RMSpropWarmup, groups, changes), sgd)


def test_a_rate_of_zero_is_refused_while_rmsprop_has_a_part():
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    optimizer = RMSpropWarmup([weight], lr=0.0, epoch=12.0)
    with pytest.raises(InvalidArgument, match=r"lr is 0 at epoch 12.*until epoch 12.5"):
        optimizer.step()
    optimizer.param_groups[0]["epoch"] = 12.5
    optimizer.step()
    assert weight.item() == 1.0


@pytest.mark.parametrize("name", ["period", "eps"])
def test_a_value_of_zero_is_refused(name):
    with pytest.raises(InvalidArgument, match=f"{name} is 0, expected a number above"):
        RMSpropWarmup([nn.Parameter(torch.ones(1))], lr=1.0, **{name: 0.0})


def test_the_example_shows_what_comes_out():
    assert doctest.testmod(module).failed == 0
