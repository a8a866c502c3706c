"""The study's updates are the recipes': the vectors that the trainer is tested by."""

import numpy as np
import pytest

from bench.study import net, updates
from bench.study.arms import Rates, recipe
from collectives import InvalidArgument
from trainer.recipe import vary

RATES = Rates(sgd=0.1, lars=29.0)


def made(name, **changes):
    found = recipe(name, batch=64, rates=RATES, epochs=30)
    return vary(found, chosen={k.replace("__", "."): v for k, v in changes.items()})


def moved(chosen, gradients, rates, *, weights=None, decay=0.0, epoch=0.0):
    """The weights after updates with these gradients, all alike, at these rates."""
    w = np.zeros(net.COUNT) if weights is None else weights
    rule, state = updates.rule(chosen), updates.start(w)
    for g, lr in zip(gradients, rates, strict=True):
        g = np.full_like(w, g) if np.isscalar(g) else g.copy()
        rule(chosen, w, g, np.full_like(w, decay), state, lr=lr, epoch=epoch)
    return w


@pytest.mark.parametrize(("arm", "expected"), [("M5", -19.9668), ("M9", -9.8949)])
def test_momentum_ends_where_the_arithmetic_does(arm, expected):
    w = moved(made(arm), [1.0] * 4, [0.1, 0.1, 3.2, 3.2])
    np.testing.assert_allclose(w, expected, rtol=1e-12)


def test_the_first_step_of_rmsprop_warmup_is_as_derived():
    w = moved(made("M8"), [0.01], [6.4])
    np.testing.assert_allclose(w, -0.0035586, rtol=1e-4)


def test_rmsprop_warmup_is_momentum_after_the_transition():
    rates = [0.1, 0.2, 0.3]
    found = moved(made("M8"), [0.5, 0.2, -0.1], rates, epoch=12.5)
    expected = moved(made("M5"), [0.5, 0.2, -0.1], rates)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_decay_is_a_part_of_the_gradient():
    w = moved(made("M5"), [0.0], [0.5], weights=np.full(net.COUNT, 2.0), decay=0.1)
    np.testing.assert_allclose(w, 2 - 0.5 * 0.1 * 2)


def test_lars_gives_each_tensor_the_step_of_its_norms():
    place = net.TENSORS["fc.bias"]
    part = slice(place.start, place.start + 2)
    w, g = np.zeros(net.COUNT), np.zeros(net.COUNT)
    w[part], g[part] = (3, 4), (0.8, -0.6)
    found = moved(made("M7", lars__eps=0.0), [g], [29.0], weights=w, decay=1e-4)
    np.testing.assert_allclose(found[part], (2.8840144928, 4.0868985507), rtol=1e-9)
    w[part], g[part] = (3, 4), (0.6, 0.8)
    found = moved(made("M7", lars__eps=0.0), [g, g], [29.0, 14.5], weights=w)
    np.testing.assert_allclose(found[part], (2.7924615, 3.723282), rtol=1e-9)


def test_lars_takes_the_plain_rate_where_a_norm_is_0():
    w = moved(made("M7"), [0.25], [0.5])
    np.testing.assert_allclose(w, -0.125)


def test_an_update_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InvalidArgument, match="'lamb'.*rmsprop_warmup"):
        updates.rule(made("M5", optimizer__kind="lamb"))


def test_matrices_and_the_last_bias_decay_and_norms_do_not():
    decay = net.views(net.decays(made("M5")))
    assert {name for name in decay if decay[name].any()} == {
        *net.LINEAR,
        "fc",
        "fc.bias",
    }
    assert decay["stem"].max() == np.float32(1e-4)
