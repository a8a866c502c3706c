from dataclasses import replace

import numpy as np
import pytest
import torch
from jpegs import encode, picture
from PIL import Image

from collectives import InvalidArgument
from trainer import recipe
from trainer.fields import Images
from trainer.images import colour, crops, view
from trainer.images.decode import Encoded
from trainer.images.view import View

IMAGES = Images(size=56, resize=64, resize_max=96)


@pytest.fixture(scope="module")
def image():
    return Encoded(encode(picture(500, 375), quality=95))


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (80, 80)])
def test_an_evaluation_is_resizing_the_short_side_and_cutting_the_centre(size):
    pixels = picture(*size)
    image = Encoded(encode(pixels, "PNG"))
    found = view.render(image, view.test(image, IMAGES), "bicubic", scaled=False)
    wide, high = crops.resized(*size, 64)
    resized = Image.fromarray(pixels).resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - 56) // 2, (high - 56) // 2
    expected = np.asarray(resized)[top : top + 56, left : left + 56]
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("filter", view.FILTERS)
@pytest.mark.parametrize(
    ("box", "factor"),
    [((0, 0, 500, 375), 4), ((10.5, 20, 250, 300), 4), ((100, 50, 260, 200), 2),
     ((0, 0, 500, 100), 1), ((130, 140, 170, 180), 1), ((0, 0, 500, 375), 8)],
)  # fmt: skip
def test_decoding_at_a_scale_is_decoding_and_resizing(image, box, factor, filter):
    size = 40 if factor == 8 else 56
    seen = View(box, size)
    assert view.factor(seen) == factor
    whole, scaled = (
        view.render(image, seen, filter, scaled=scaled).astype(int)
        for scaled in (False, True)
    )
    assert whole.shape == scaled.shape == (size, size, 3)
    difference = np.abs(whole - scaled)
    assert difference.mean() < 1 and difference.max() <= 8
    assert not difference.any() or factor > 1


def test_a_flip_is_the_mirror_image(image):
    plain = view.render(image, View((0, 0, 300, 300), 56), "bicubic", scaled=True)
    mirrored = view.render(
        image, View((0, 0, 300, 300), 56, True), "bicubic", scaled=True
    )
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_half_of_the_views_are_flipped_unless_none_is(image):
    random = np.random.default_rng(0)
    for flip, share in ((True, 0.5), (False, 0)):
        images = replace(IMAGES, flip=flip)
        views = [view.training(image, 56, images, random) for _ in range(1000)]
        found = np.mean([seen.flip for seen in views])
        assert found == pytest.approx(share, abs=0.06)


def test_test_views_have_the_size_of_tests(image):
    assert view.test(image, IMAGES).size == 56
    assert view.test(image, replace(IMAGES, test_size=60)).size == 60


@pytest.mark.parametrize("name", colour.CONSTANTS)
def test_normalisation_subtracts_and_divides(name):
    square = picture(7, 5)
    mean, deviation = colour.CONSTANTS[name]
    found = colour.normalise(square, name)
    expected = (square / 255 - np.array(mean)) / np.array(deviation)
    assert found.shape == (3, 5, 7) and found.dtype == torch.float32
    np.testing.assert_allclose(found.permute(1, 2, 0), expected, atol=2e-5, rtol=1e-5)
    same = colour.normalise((square / np.float32(255)).astype(np.float32), name)
    np.testing.assert_allclose(same, found, atol=2e-5, rtol=1e-5)


def unit(seed=0):
    return picture(40, 30, seed=seed).astype(np.float32) / 255


def test_colour_jitter_of_no_strength_changes_nothing():
    random = np.random.default_rng(0)
    np.testing.assert_allclose(colour.jitter(unit(), 0.0, random), unit(), atol=1e-6)


def test_colour_jitter_keeps_brightness_on_average_and_within_its_range():
    random, before = np.random.default_rng(0), unit()
    means = [colour.jitter(before, 0.4, random).mean() for _ in range(2000)]
    grey = (before @ colour.GREY).mean()
    assert np.mean(means) == pytest.approx(before.mean(), rel=0.02)
    slack = 0.4 * abs(before.mean() - grey) * 3
    assert 0.6 * before.mean() - slack < min(means)
    assert max(means) < 1.4 * before.mean() + slack


def test_grey_has_no_saturation_and_an_even_image_no_contrast():
    random = np.random.default_rng(0)
    even = np.full((4, 4, 3), 0.5, np.float32)
    changed = colour.jitter(even, 0.4, random)
    assert changed.std() < 1e-6  # brightness is all that can change


def test_lighting_adds_one_colour_of_the_principal_components():
    random = np.random.default_rng(0)
    shifts = np.array([
        (colour.light(unit(), 0.1, random) - unit())[0, 0] for _ in range(4000)
    ])  # fmt: skip
    parts = shifts @ np.linalg.inv(colour.EIGENVECTORS).T
    assert parts.std(0) == pytest.approx(0.1 * colour.EIGENVALUES, rel=0.05)
    assert parts.mean(0) == pytest.approx(0, abs=0.002)


def test_principal_components_are_orthogonal():
    product = colour.EIGENVECTORS.T @ colour.EIGENVECTORS
    np.testing.assert_allclose(product, np.eye(3), atol=1e-3)


def test_recipes_may_choose_what_there_is():
    for field, known in {
        "crop": crops.TRAINING,
        "test_crop": crops.TEST,
        "filter": view.FILTERS,
        "normalise": colour.CONSTANTS,
    }.items():
        assert recipe.entries()[f"images.{field}"].metadata["choices"] == tuple(known)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": "inception"}, "images.crop.*area, area_log, short_side, fixed, none"),
        ({"test_crop": "ten"}, "images.test_crop.* short_side, fraction"),
        ({"filter": "nearest"}, "images.filter.* bicubic, bilinear"),
        ({"normalise": "none"}, "images.normalise.* deviation, mean, caffe, half"),
        ({"min_area": 0.0}, "images.min_area: got 0"),
        ({"jitter": 1.5}, "images.jitter: got 1.5, expected at least 0 and at most 1"),
        ({"resize_max": 60}, "images.resize_max: got 60, expected 64"),
        ({"test_size": 65}, "images.test_size: got 65, expected 1 to 64"),
        ({"crop": "fixed"}, r"images.size: got 80, .* \(crop fixed, resize 64\)"),
    ],
)
def test_settings_that_make_no_view_are_refused(changes, words):
    with pytest.raises(InvalidArgument, match=words):
        view.check(replace(IMAGES, **changes), [56, 80])
