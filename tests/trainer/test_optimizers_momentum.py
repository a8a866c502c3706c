import pytest
import torch
from following import assert_close, expected, follow
from references import u_momentum, v_momentum
from torch import nn

from trainer.optimizers import VMomentum

RATES = [0.1, 0.1, 3.2, 3.2]
CHANGES = [{"lr": lr} for lr in (0.1, 0.3, 0.3, 0.02)]
GROUPS = [{"weight_decay": 1e-2}, {"weight_decay": 0.0}]
TRUTHS = (False, True)


def one_weight(kind, rates=RATES, gradients=(1.0, 1.0, 1.0, 1.0), **options):
    """Follow one weight from 0 through updates."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = kind([weight], lr=rates[0], momentum=0.9, **options)
    for rate, gradient in zip(rates, gradients, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    return weight.item()


def test_the_u_form_is_that_of_torch():
    assert one_weight(torch.optim.SGD) == pytest.approx(-19.9668, rel=1e-6)
    nesterov = one_weight(torch.optim.SGD, nesterov=True)
    assert nesterov == pytest.approx(-24.57012, rel=1e-6)


def test_the_corrected_v_form_equals_the_u_form():
    assert one_weight(VMomentum) == pytest.approx(-19.9668, rel=1e-6)
    nesterov = one_weight(VMomentum, nesterov=True)
    assert nesterov == pytest.approx(-24.57012, rel=1e-6)


def test_the_uncorrected_v_form_does_not():
    assert one_weight(VMomentum, corrected=False) == pytest.approx(-9.8949, rel=1e-6)


def test_all_forms_are_equal_at_one_rate():
    rates = [0.1] * 4
    u = one_weight(torch.optim.SGD, rates)
    assert one_weight(VMomentum, rates) == pytest.approx(u, rel=1e-12)
    plain = one_weight(VMomentum, rates, corrected=False)
    assert plain == pytest.approx(u, rel=1e-12)


@pytest.mark.parametrize("nesterov", TRUTHS)
@pytest.mark.parametrize("corrected", TRUTHS)
def test_the_v_form_follows_its_formula(nesterov, corrected):
    options = {"momentum": 0.9, "nesterov": nesterov, "corrected": corrected}
    got = follow(VMomentum, GROUPS, CHANGES, **options)
    assert_close(got, expected(v_momentum, GROUPS, CHANGES, **options))


@pytest.mark.parametrize("nesterov", TRUTHS)
def test_torch_and_the_corrected_v_form_follow_the_u_formula(nesterov):
    options = {"momentum": 0.9, "nesterov": nesterov}
    wanted = expected(u_momentum, GROUPS, CHANGES, **options)
    assert_close(follow(torch.optim.SGD, GROUPS, CHANGES, **options), wanted)
    assert_close(follow(VMomentum, GROUPS, CHANGES, **options), wanted)


def two_weights(kind):
    """Follow two weights, of which the second has a gradient now and then."""
    pair = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2)]
    optimizer = kind(pair, lr=0.1, momentum=0.9)
    for rate, present in ((0.1, True), (3.2, False), (0.4, True), (0.4, False)):
        optimizer.param_groups[0]["lr"] = rate
        pair[0].grad = torch.ones_like(pair[0])
        pair[1].grad = torch.ones_like(pair[1]) if present else None
        optimizer.step()
    return [weight.item() for weight in pair]


def test_a_weight_without_a_gradient_rests_and_is_corrected_all_the_same():
    u = two_weights(torch.optim.SGD)
    assert two_weights(VMomentum) == pytest.approx(u, rel=1e-12)


def test_a_rate_of_zero_empties_the_average():
    assert one_weight(VMomentum, [0.1, 0.0, 0.1, 0.1]) == pytest.approx(
        one_weight(torch.optim.SGD, [0.1, 0.1], (1.0, 1.0)) - 0.1, rel=1e-12
    )


def oscillation(rate, *, curvature=2.0, momentum=0.9, updates=2000):
    """Return the last of the distances from the minimum of a parabola."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = VMomentum([weight], lr=rate, momentum=momentum)
    for _ in range(updates):
        weight.grad = curvature * weight.detach()
        optimizer.step()
    return abs(weight.item())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_heavy_ball_diverges_beyond_twice_one_plus_momentum_by_curvature(momentum):
    limit = 2 * (1 + momentum) / 2.0
    assert oscillation(0.98 * limit, momentum=momentum) < 1e-3
    assert oscillation(1.02 * limit, momentum=momentum) > 1e3


def test_linear_scaling_diverges_from_a_predictable_factor_on():
    # 0.1 k > 2 (1 + 0.9) / 2 = 1.9, first at k = 20 of the whole factors but 19.
    stable = [oscillation(0.1 * k) < 1e-3 for k in (1, 8, 18, 20, 24, 32)]
    assert stable == [True, True, True, False, False, False]
