"""The study's network: gradients, ghost batches, virtual workers."""

import numpy as np
import pytest

from bench.study import evaluation, net
from bench.study.glyphs import CLASSES, PIXELS

RANDOM = np.random.default_rng(3)
IMAGES = RANDOM.standard_normal((24, PIXELS))
LABELS = RANDOM.integers(CLASSES, size=24)


def vector():
    """Weights in float64, none of them 0."""
    weights = net.begin(1, zero_gamma=False, dtype=np.float64)
    return weights + 0.1 * np.random.default_rng(4).standard_normal(net.COUNT)


def loss(weights, *, ghost):
    done = net.forward(net.views(weights), IMAGES, ghost)
    return net.cross_entropy(done.scores, LABELS)[0]


def gradient(weights, *, ghost, images=IMAGES, labels=LABELS):
    found = np.zeros_like(weights)
    done = net.forward(net.views(weights), images, ghost)
    _, slope = net.cross_entropy(done.scores, labels)
    net.backward(net.views(weights), done, slope, net.views(found))
    return found


@pytest.mark.parametrize("ghost", [8, 24])
@pytest.mark.parametrize("name", net.TENSORS)
def test_gradients_are_those_of_finite_differences(name, ghost):
    weights, tensor = vector(), net.TENSORS[name]
    found = gradient(weights, ghost=ghost)
    size = 1e-6
    for place in np.linspace(tensor.start, tensor.stop - 1, 5).astype(int):
        step = np.zeros_like(weights)
        step[place] = size
        ahead, behind = (loss(weights + s * step, ghost=ghost) for s in (1, -1))
        slope = (ahead - behind) / (2 * size)
        assert found[place] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_the_network_has_as_many_weights_as_it_says():
    linear = PIXELS * 64 + 8 * 64 * 64
    assert net.COUNT == linear + 9 * 2 * 64 + 64 * CLASSES + CLASSES == 72_084


def test_a_ghost_batch_is_normalised_by_itself():
    x = RANDOM.standard_normal((12, 5)) * 3 + 1
    gamma, beta = np.full(5, 2.0), np.full(5, 0.5)
    out, _ = net.normalise(x, gamma, beta, 4)
    for start in (0, 4, 8):
        part = x[start : start + 4]
        expected = 2 * (part - part.mean(0)) / np.sqrt(part.var(0) + net.EPS) + 0.5
        np.testing.assert_allclose(out[start : start + 4], expected, rtol=1e-12)


def test_virtual_workers_add_up_to_one_batch():
    weights = vector()
    whole = gradient(weights, ghost=8)
    parts = [
        gradient(weights, ghost=8, images=IMAGES[cut], labels=LABELS[cut])
        for cut in (slice(8), slice(8, 16), slice(16, 24))
    ]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-9, atol=1e-12)


def test_ghost_batches_are_not_one_batch():
    weights = vector()
    small, large = (gradient(weights, ghost=ghost) for ghost in (8, 24))
    assert np.abs(small - large).max() > 1e-3


def test_gamma_0_makes_every_block_the_identity():
    weights = net.views(net.begin(1, zero_gamma=True, dtype=np.float64))
    inputs = net.forward(weights, IMAGES, 8).inputs
    np.testing.assert_array_equal(inputs["fc"], inputs["block0.a"])
    weights = net.views(net.begin(1, zero_gamma=False, dtype=np.float64))
    inputs = net.forward(weights, IMAGES, 8).inputs
    assert np.abs(inputs["fc"] - inputs["block0.a"]).max() > 0.1


def test_first_weights_follow_from_the_random_seed():
    again = net.begin(1, zero_gamma=True)
    np.testing.assert_array_equal(net.begin(1, zero_gamma=True), again)
    assert np.any(net.begin(2, zero_gamma=True) != again)
    tensors = net.views(again)
    assert tensors["stem"].std() == pytest.approx(np.sqrt(2 / PIXELS), rel=0.02)
    assert tensors["fc"].std() == pytest.approx(0.01, rel=0.1)
    assert not tensors["fc.bias"].any()


def test_pooled_statistics_normalise_the_sample_as_one_batch():
    weights = net.views(vector())
    known = evaluation.statistics(weights, IMAGES, 8)
    x = IMAGES @ weights["stem"]
    np.testing.assert_allclose(known["stem"][0], x.mean(0), rtol=1e-10)
    np.testing.assert_allclose(known["stem"][1], x.var(0), rtol=1e-10)
    whole = evaluation.statistics(weights, IMAGES, 24)
    scores = net.forward(weights, IMAGES, 24).scores
    found = evaluation.scores(weights, IMAGES, whole)
    np.testing.assert_allclose(found, scores, rtol=1e-8, atol=1e-10)
