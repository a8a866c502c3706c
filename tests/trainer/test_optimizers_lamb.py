import pytest
import torch
from following import assert_close, expected, follow
from references import lamb
from torch import nn

from trainer.optimizers import LAMB

CHANGES = [{"lr": lr} for lr in (0.01, 0.02, 0.02, 0.005)]


@pytest.mark.parametrize("skip", [False, True])
def test_it_follows_its_formula(skip):
    groups = [{"weight_decay": 1e-2}, {"weight_decay": 1e-2, "skip": skip}]
    got = follow(LAMB, groups, CHANGES)
    assert_close(got, expected(lamb, groups, CHANGES))


def test_a_skipped_group_is_adam_without_decay():
    groups = [{"skip": True, "weight_decay": 1e-2}] * 2
    adam = follow(torch.optim.Adam, [{}, {}], CHANGES, eps=1e-6)
    assert_close(follow(LAMB, groups, CHANGES), adam)


def test_a_step_is_as_long_as_rate_times_weight():
    weight = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = LAMB([weight], lr=0.01, weight_decay=1e-2)
    for gradient in ([1e-3, 2e5], [7.0, -1.0], [0.0, 0.0]):
        before = weight.detach().clone()
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        step = (weight.detach() - before).norm()
        assert step.item() == pytest.approx(0.01 * before.norm().item(), rel=1e-9)


def one_step(weight, gradient, **options):
    parameter = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
    parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    LAMB([parameter], lr=0.01, **options).step()
    return parameter.tolist()


def test_zero_weights_take_the_raw_rate():
    got = one_step([0.0, 0.0], [2.0, -3.0], eps=0.0)
    assert got == pytest.approx([-0.01, 0.01], rel=1e-9)


@pytest.mark.parametrize("weight", [[0.0, 0.0], [3.0, 4.0]])
def test_zero_gradients_without_decay_move_nothing(weight):
    assert one_step(weight, [0.0, 0.0]) == weight
