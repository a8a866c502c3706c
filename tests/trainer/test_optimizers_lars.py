from itertools import product

import numpy as np
import pytest
import torch
from following import assert_close, expected, follow
from references import lars
from torch import nn

from collectives import InvalidArgument
from trainer.optimizers import LARS

FORMS = ("v", "u", "hybrid")
CHANGES = [{"lr": lr} for lr in (29.0, 14.5, 14.5, 40.0)]
ALONG, ACROSS = (0.6, 0.8), (0.8, -0.6)  # to w = (3, 4), whose norm is 5


def steps(gradients, rates, w=(3.0, 4.0), **options):
    """Return the weights before and after each update."""
    weight = nn.Parameter(torch.tensor(w, dtype=torch.float64))
    optimizer = LARS([weight], lr=rates[0], **options)
    path = [weight.detach().clone()]
    for gradient, rate in zip(gradients, rates, strict=True):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        path.append(weight.detach().clone())
    return path


def one_step(gradient, **options):
    before, after = steps([gradient], [29.0], **options)
    return (before - after).tolist()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("gradient", "decay_in", "step"), [
    (ALONG, "update", (0.087, 0.116)),
    (ALONG, "loss", (0.0869565, 0.1159421)),
    (ACROSS, "update", (0.1159855072, -0.0868985507)),
    (ACROSS, "loss", (0.1159854928, -0.0868985399)),
])  # fmt: skip
def test_the_first_step_is_known(form, gradient, decay_in, step):
    got = one_step(gradient, form=form, decay_in=decay_in, weight_decay=1e-4)
    assert got == pytest.approx(step, rel=1e-6)


def test_the_decay_placements_differ():
    across = [
        one_step(ACROSS, decay_in=d, weight_decay=1e-4) for d in ("update", "loss")
    ]
    assert across[0] != pytest.approx(across[1], rel=1e-8)


@pytest.mark.parametrize(("form", "weights"), [
    ("v", (2.7924615, 3.723282)),
    ("u", (2.83274685, 3.7769958)),
    ("hybrid", (2.8316115, 3.775482)),
])  # fmt: skip
def test_the_forms_differ_from_the_second_step_on(form, weights):
    path = steps([ALONG, ALONG], [29.0, 14.5], form=form)
    assert path[1].tolist() == pytest.approx((2.913, 3.884), rel=1e-6)
    assert path[2].tolist() == pytest.approx(weights, rel=1e-6)


@pytest.mark.parametrize(("form", "decay_in", "rule"), list(
    product(FORMS, ("update", "loss"), (("denominator", 0.0), ("denominator", 1e-2),
                                        ("threshold", 1e-6), ("threshold", 10.0)))
))  # fmt: skip
def test_every_variant_follows_its_formula(form, decay_in, rule):
    eps_rule, eps = rule
    groups = [{"weight_decay": 1e-4}, {"weight_decay": 1e-3, "skip": True}]
    options = {"form": form, "decay_in": decay_in, "eps_rule": eps_rule, "eps": eps,
               "momentum": 0.9}  # fmt: skip
    got = follow(LARS, groups, CHANGES, **options)
    assert_close(got, expected(lars, groups, CHANGES, **options))
    groups[1]["skip"] = False  # trust everywhere, weights of zero included
    got = follow(LARS, groups, CHANGES, **options)
    assert_close(got, expected(lars, groups, CHANGES, **options))


def test_the_paper_takes_a_thousandth_and_momentum_0_9():
    default = follow(LARS, [{}, {}], CHANGES)
    stated = {"coefficient": 1e-3, "momentum": 0.9, "weight_decay": 0.0}
    assert_close(default, expected(lars, [{}, {}], CHANGES, **stated))


@pytest.mark.parametrize("form", FORMS)
def test_zero_weights_take_the_raw_rate(form):
    for rule in ({}, {"eps_rule": "threshold", "eps": 1e-6}):
        path = steps([ALONG], [29.0], w=(0.0, 0.0), form=form, **rule)
        assert path[1].tolist() == pytest.approx([-29 * g for g in ALONG], rel=1e-12)


def test_a_zero_gradient_decays_at_the_raw_rate_or_at_the_longest_by_nnabla():
    zero = (0.0, 0.0)
    raw = one_step(zero, weight_decay=1e-4)
    assert raw == pytest.approx([29 * 1e-4 * w for w in (3, 4)], rel=1e-9)
    scaled = one_step(zero, weight_decay=1e-4, eps_rule="threshold", eps=1e-6)
    assert scaled == pytest.approx([29 * 1e-3 * w for w in (3, 4)], rel=1e-9)


def test_zero_weights_and_gradients_stay():
    for rule in ({}, {"eps_rule": "threshold", "eps": 1e-6}):
        path = steps([(0.0, 0.0)], [29.0], w=(0.0, 0.0), weight_decay=1e-4, **rule)
        assert path[1].tolist() == [0.0, 0.0]


def test_a_skipped_tensor_takes_the_raw_rate_and_no_decay():
    step = one_step(ACROSS, skip=True, weight_decay=1e-4)
    assert step == pytest.approx([29 * g for g in ACROSS], rel=1e-12)


def test_a_decay_in_the_loss_is_not_skipped():
    step = one_step(ACROSS, skip=True, weight_decay=1e-4, decay_in="loss")
    decayed = [29 * (g + 1e-4 * w) for g, w in zip(ACROSS, (3, 4), strict=True)]
    assert step == pytest.approx(decayed, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_without_momentum_a_step_is_at_most_rate_times_coefficient_times_weight(form):
    generator = np.random.default_rng(3)
    gradients = generator.normal(scale=10.0 ** generator.integers(-6, 6, (20, 1)),
                                 size=(20, 2)).tolist()  # fmt: skip
    path = steps(gradients, [29.0] * 20, form=form, momentum=0.0, weight_decay=1e-4)
    for before, after in zip(path, path[1:], strict=False):
        bound = 29.0 * 1e-3 * before.norm()
        assert (after - before).norm() <= bound * (1 + 1e-9)


def test_the_size_of_the_loss_does_not_matter_without_decay():
    small, large = (one_step(tuple(s * g for g in ACROSS)) for s in (1e-3, 1e3))
    assert small == pytest.approx(large, rel=1e-9)


def test_a_threshold_of_zero_is_refused():
    with pytest.raises(InvalidArgument, match=r"needs one above 0 .*'denominator'"):
        one_step(ALONG, eps_rule="threshold")
