from dataclasses import replace

import numpy as np
import pytest

from trainer.fields import Images
from trainer.images import crops

IMAGES = Images(size=224, resize=256, resize_max=480)
WIDTH, HEIGHT = 500, 375
DRAWS = 4000


def boxes(crop, *, count=DRAWS, size=224, width=WIDTH, height=HEIGHT, **changes):
    random = np.random.default_rng(0)
    images = replace(IMAGES, **changes)
    found = [crops.TRAINING[crop](width, height, size, images, random)
             for _ in range(count)]  # fmt: skip
    return np.array(found, dtype=float)


def sides(found):
    return found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]


@pytest.mark.parametrize("crop", crops.TRAINING)
@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (64, 64), (300, 20)])
@pytest.mark.parametrize("size", [32, 224])
def test_a_box_lies_in_the_image(crop, shape, size):
    width, height = shape
    found = boxes(crop, count=200, size=size, width=width, height=height)
    assert (found[:, :2] >= 0).all() and (found[:, 2:] > found[:, :2]).all()
    assert (found[:, 2:] <= np.array([width, height]) + 1e-9).all()


@pytest.mark.parametrize("min_area", [0.05, 0.08])
@pytest.mark.parametrize("crop", ["area", "area_log"])
def test_small_areas_are_uniform_from_the_least_on(crop, min_area):
    wide, high = sides(boxes(crop, min_area=min_area))
    part = wide * high / (WIDTH * HEIGHT)
    small = part[part < 0.5]  # boxes that always fit
    assert part.min() == pytest.approx(min_area, abs=0.005) and part.max() <= 1
    assert small.mean() == pytest.approx((min_area + 0.5) / 2, abs=0.01)
    uniform_std = (0.5 - min_area) / 12**0.5
    assert small.std() == pytest.approx(uniform_std, rel=0.03)


def small_aspects(crop):
    wide, high = sides(boxes(crop))
    return (wide / high)[wide * high < 0.5 * WIDTH * HEIGHT]


def test_the_aspect_is_uniform_either_way_up():
    # a is uniform in [3/4, 4/3], and 1 / a is taken as often.
    aspect = small_aspects("area")
    assert aspect.min() > 0.74 and aspect.max() < 1.35
    mean_inverse = np.log((4 / 3) / (3 / 4)) / (4 / 3 - 3 / 4)
    expected = ((3 / 4 + 4 / 3) / 2 + mean_inverse) / 2
    assert aspect.mean() == pytest.approx(expected, abs=0.008)
    assert (aspect < 1).mean() == pytest.approx(0.5, abs=0.03)


def test_the_other_aspect_is_uniform_in_its_logarithm():
    aspect = np.log(small_aspects("area_log"))
    limit = np.log(4 / 3)
    assert abs(aspect).max() < limit + 0.01
    assert aspect.mean() == pytest.approx(0, abs=0.01)
    assert aspect.std() == pytest.approx(2 * limit / 12**0.5, rel=0.03)
    assert (aspect < -limit / 2).mean() == pytest.approx(0.25, abs=0.03)


def test_both_aspects_are_distributed_differently():
    share = [(small_aspects(crop) < 0.875).mean() for crop in ("area", "area_log")]
    uniform = (0.125 + (4 / 3 - 8 / 7)) / (4 / 3 - 3 / 4) / 2
    logarithmic = (np.log(0.875) + np.log(4 / 3)) / (2 * np.log(4 / 3))
    assert share == pytest.approx([uniform, logarithmic], abs=0.025)


def test_a_box_that_never_fits_is_the_centre():
    assert (boxes("area", count=5, width=1000, height=10, min_area=1.0)
            == [495, 0, 505, 10]).all()  # fmt: skip


def test_the_short_side_is_uniform_between_its_limits():
    wide, high = sides(boxes("short_side"))
    short = 224 * HEIGHT / high
    assert set(np.round(short)) == set(range(256, 481))
    assert short.mean() == pytest.approx((256 + 480) / 2, rel=0.01)
    assert np.abs(wide / high - 1).max() < 0.005  # the sides are rounded to pixels


def test_a_fixed_crop_is_one_of_33_by_33_places():
    found = boxes("fixed")
    left, top = found[:, 0] * 256 / WIDTH, found[:, 1] * 256 / HEIGHT
    assert set(np.round(left, 6)) == set(range(33)) == set(np.round(top, 6))
    wide, high = sides(found)
    assert wide == pytest.approx(224 * WIDTH / 256)
    assert high == pytest.approx(224 * HEIGHT / 256)


def test_no_crop_is_the_evaluation():
    expected = crops.short_side_centre(WIDTH, HEIGHT, 224, IMAGES)
    assert set(map(tuple, boxes("none", count=3))) == {expected}


def test_both_evaluations_see_seven_eighths_of_the_short_side():
    short = crops.short_side_centre(WIDTH, HEIGHT, 224, IMAGES)
    fraction = crops.fraction_centre(WIDTH, HEIGHT, 224, IMAGES)
    assert fraction == (86, 23, 414, 351)  # round(375 * 7 / 8) = 328
    assert short == pytest.approx(fraction, abs=1.5)
    assert short[3] - short[1] == pytest.approx(375 * 7 / 8)


def test_an_evaluation_at_another_size_sees_as_much_as_its_resize_says():
    images = replace(IMAGES, resize=293)
    box = crops.short_side_centre(WIDTH, HEIGHT, 256, images)
    assert box[3] - box[1] == pytest.approx(375 * 256 / 293)
