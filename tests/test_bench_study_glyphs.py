"""The study's pictures are a pure function of random seed and number."""

import numpy as np
import pytest

from bench.study import glyphs, task
from bench.study.glyphs import CLASSES, PIXELS, SIDE

SOME = {"seed": 20, "noise": 0.25}


def test_any_part_of_the_data_is_alike():
    whole = glyphs.make(0, 60, **SOME)
    for start, stop in ((0, 1), (17, 40), (59, 60)):
        part = glyphs.make(start, stop, **SOME)
        np.testing.assert_array_equal(part.images, whole.images[start:stop])
        np.testing.assert_array_equal(part.labels, whole.labels[start:stop])


def test_chunks_do_not_show(monkeypatch):
    whole = glyphs.make(0, 50, **SOME)
    monkeypatch.setattr(glyphs, "CHUNK", 7)
    np.testing.assert_array_equal(glyphs.make(0, 50, **SOME).images, whole.images)


def test_another_seed_makes_other_strokes_and_pictures():
    one, two = (glyphs.make(0, 20, seed=seed, noise=0.0) for seed in (1, 2))
    assert np.any(one.images != two.images, axis=1).all()
    assert np.any(glyphs.prototypes(1) != glyphs.prototypes(2), axis=1).all()


def test_classes_are_balanced():
    labels = glyphs.make(0, 5 * CLASSES, **SOME).labels
    assert np.bincount(labels).tolist() == [5] * CLASSES


def test_pictures_of_a_class_differ_and_look_alike():
    made = glyphs.make(0, 100 * CLASSES, seed=20, noise=0.0)
    assert made.images.shape == (2000, PIXELS)
    assert made.images.dtype == np.float32
    assert len(np.unique(made.images, axis=0)) == 2000
    means = [made.images[made.labels == label].mean(0) for label in range(CLASSES)]
    likeness = np.corrcoef(means)
    assert likeness[~np.eye(CLASSES, dtype=bool)].max() < 0.98
    assert np.abs(made.images).max() <= glyphs.CONTRAST[1] + glyphs.LEVEL


def test_the_noise_is_a_standard_deviation():
    clean, noisy = (glyphs.make(0, 50, seed=20, noise=noise) for noise in (0.0, 0.5))
    difference = noisy.images - clean.images
    assert difference.std() == pytest.approx(0.5, rel=0.02)
    assert difference.mean() == pytest.approx(0, abs=0.02)


def test_a_prototype_is_a_connected_line():
    for drawn in glyphs.prototypes(20).reshape(CLASSES, glyphs.TABLE, glyphs.TABLE):
        assert drawn.min() == 0
        assert drawn.max() == 1
        assert 0.02 < (drawn > 0.5).mean() < 0.4


def test_the_affine_map_turns_about_the_middle_and_is_within_its_bounds():
    ticks = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    x, y = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
    middle = np.full((1, 10), 0.5)  # of every range: scale 1, nothing else
    np.testing.assert_allclose(glyphs.undo(middle, x, y), ([x], [y]), atol=1e-12)
    largest = np.ones((1, 10))
    u, v = glyphs.undo(largest, np.array([3 / 12]), np.array([3 / 12]))
    np.testing.assert_allclose((u, v), 0, atol=1e-12)


def test_training_and_test_pictures_do_not_meet():
    small = task.Size("", 40, 20, 1, (64,), (1,), 64)
    train, test = task.data(small)
    assert len(train.labels) == 40
    assert len(test.labels) == 20
    first = glyphs.make(60_000, 60_020, seed=task.DATA_SEED, noise=task.NOISE)
    np.testing.assert_array_equal(test.images, first.images)


def test_the_noise_is_the_calibrated_one():
    middle = (8 + 15) / 2
    best = min(task.CALIBRATION, key=lambda n: abs(task.CALIBRATION[n] - middle))
    assert best == task.NOISE
    assert 8 <= task.CALIBRATION[best] <= 15
