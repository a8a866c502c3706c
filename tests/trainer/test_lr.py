import doctest
from dataclasses import replace
from math import cos, pi, sqrt

import pytest

from trainer import lr, recipe
from trainer.recipes import mlperf_lars

GOYAL = recipe.load("goyal2017")
IMAGENET = 1_281_167


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 0.1), (1, 0.72), (2.5, 1.65), (5, 3.2), (29.99, 3.2),
        (30, 0.32), (60, 0.032), (80, 0.0032), (89.99, 0.0032),
    ],
)  # fmt: skip
def test_goyal_at_8192_has_the_published_rates(epoch, expected):
    assert lr.rate(GOYAL, batch=8192, epoch=epoch) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("power", range(11))
def test_the_rate_is_proportional_to_the_batch(power):
    published = [
        0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6,
    ]  # fmt: skip
    rate = lr.rate(GOYAL, batch=64 << power, epoch=10)
    assert rate == pytest.approx(published[power], rel=1e-6)


@pytest.mark.parametrize(
    ("batch", "rate"), [(2, 0.0025), (4, 0.005), (8, 0.01), (16, 0.02)]
)
def test_detection_by_goyal_et_al_has_one_rate_for_each_image(batch, rate):
    found = lr.scaled(0.02, batch=batch, reference_batch=16)
    assert found == pytest.approx(rate, rel=1e-6)
    assert found / batch == pytest.approx(0.00125, rel=1e-6)


@pytest.mark.parametrize("batch", [32, 64, 256])
def test_no_warm_up_up_to_the_reference_batch(batch):
    start = lr.rate(GOYAL, batch=batch, epoch=0)
    assert start == lr.rate(GOYAL, batch=batch, epoch=29.9) == 0.1 * batch / 256


@pytest.mark.parametrize("batch", [288, 8192, 65536])
def test_warm_up_starts_from_the_reference_rate_whatever_the_batch(batch):
    assert lr.rate(GOYAL, batch=batch, epoch=0) == 0.1


def test_warm_up_at_8192_is_782_equal_increments():
    per_epoch = IMAGENET / 8192
    rates = [lr.rate(GOYAL, batch=8192, epoch=i / per_epoch) for i in range(783)]
    increments = [b - a for a, b in zip(rates, rates[1:], strict=False)]
    assert rates[781] < 3.2 and rates[782] == pytest.approx(3.2)
    assert increments[:781] == pytest.approx([3.1 / (5 * per_epoch)] * 781, rel=1e-6)


@pytest.mark.parametrize("epochs", [3, 12, 14, 90])
def test_a_shorter_run_keeps_the_shape(epochs):
    for part, expected in [(0, 0.1), (1 / 3, 0.32), (2 / 3, 0.032), (8 / 9, 0.0032)]:
        at = lr.span_epoch(GOYAL, epoch=epochs * part + 1e-9, epochs=epochs)
        rate = lr.rate(GOYAL, batch=8192, epoch=at)
        assert rate == pytest.approx(expected, rel=1e-6)


def test_a_drop_counts_from_its_very_epoch():
    at = lr.span_epoch(GOYAL, epoch=4, epochs=12)
    assert lr.rate(GOYAL, batch=256, epoch=at) == pytest.approx(0.01)


def test_weight_decay_does_not_depend_on_the_batch():
    # Remark 1: the decay is the optimiser's alone; no rate or batch enters it.
    larger = replace(GOYAL, batch=replace(GOYAL.batch, per_worker=8192))
    assert larger.optimizer.weight_decay == GOYAL.optimizer.weight_decay == 1e-4


def rate(name, epoch, batch=None):
    chosen = recipe.load(name)
    return lr.rate(chosen, batch=batch or chosen.lr.reference_batch, epoch=epoch)


EXACT = {  # recipe: (epoch, rate)
    "he2016": [
        (0, 0.1), (29.99, 0.1), (30, 0.01), (60, 0.001), (80, 1e-4), (89.99, 1e-4),
    ],
    "akiba2017": [
        (0, 6.4), (39.99, 6.4), (40, 0.96), (69.99, 0.96), (70, 0.128), (85, 0.0128),
    ],
    "smith2017": [
        (0, 0.1), (5, 3.2), (29.99, 3.2), (30, 0.64), (60, 0.064), (80, 0.0064),
    ],
    "mikami2018_exp1": [(0, 1e-5), (34, 34), (90, 0)],
    "mikami2018_exp2": [(0, 0.2), (1, 5.96), (2.5, 14.6), (45, 12.5), (90, 0)],
    "ffcv_rn50": [(0, 0), (1, 0.85), (2, 1.7), (9, 0.85), (16, 0)],
}  # fmt: skip
PRINTED = {  # recipe: (epoch, rate as printed)
    "mikami2018_exp1": [
        (1, "1.00001"), (10, "10.000007"), (17, "17.000005"), (45, "21.9547"),
        (60, "9.75765"), (75, "2.43941"), (89, "0.010842"),
    ],
    "mikami2018_exp2": [
        (5, "25.8673"), (10, "22.9136"), (29.999999, "12.8889"), (30, "22.2222"),
        (60, "5.5556"), (75, "1.3889"), (89, "0.006173"),
    ],
}  # fmt: skip
for table in (EXACT, PRINTED):
    table["mikami2018_exp4"] = table["mikami2018_exp1"]
    table["mikami2018_exp3"] = table["mikami2018_exp2"]
BATCH = {"akiba2017": 32768, "smith2017": 8192, "nesterov_32k": 32768}
FORMULAS = {
    "mikami2018_reference": lambda e: (
        2.5 + 26.5 * e / 5 if e < 5 else 29 * (1 - e / 90) ** 2
    ),
    "mikami2018_exp1": lambda e: (
        1e-5 + (34 - 1e-5) * e / 34 if e < 34 else 34 * (1 - (e - 34) / 56) ** 2
    ),
    "mikami2018_exp2": lambda e: (
        0.2 + 28.8 * e / 5 if e < 5 else (29 if e < 30 else 50) * (1 - e / 90) ** 2
    ),
    "you2017_16k": lambda e: 2.5 + 30.5 * e / 12 if e < 12 else 33 * (1 - e / 100) ** 2,
    "you2017_32k": lambda e: 2.5 + 37.5 * e / 12 if e < 12 else 40 * (1 - e / 100) ** 2,
    "you2017_16k:90_epochs": lambda e: (
        2.5 + 22.5 * e / 5 if e < 5 else 25 * (1 - e / 90) ** 2
    ),
    "you2017_32k:90_epochs": lambda e: (
        2.5 + 26.5 * e / 5 if e < 5 else 29 * (1 - e / 90) ** 2
    ),
    "jia2018": lambda e: (
        35 * e / 34 if e < 34 else 1e-4 + (35 - 1e-4) * (1 - (e - 34) / 56) ** 2
    ),
    "nesterov_32k": lambda e: (
        0.05 + 6.35 * e / 10 if e < 10 else 6.4 * (1 - (e - 10) / 80) ** 2
    ),
    "nvidia_rn50_v15": lambda e: 0.256 * (1 + cos(pi * max(0, e - 5) / 85)) / 2,
}


def points(table):
    return [(name, *point) for name in table for point in table[name]]


def assert_printed(found, printed):
    """Compare to the digits that are printed."""
    assert f"{found:.{len(printed.partition('.')[2])}f}" == printed


@pytest.mark.parametrize(("name", "epoch", "expected"), points(EXACT))
def test_recipes_have_the_published_rates(name, epoch, expected):
    found = rate(name, epoch, BATCH.get(name))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("name", "epoch", "printed"), points(PRINTED))
def test_recipes_have_the_rates_that_are_printed_rounded(name, epoch, printed):
    assert_printed(rate(name, epoch), printed)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("epoch", [2.5, 5.5, 12, 20.25, 29.99, 30, 34, 44.5, 75, 89])
def test_recipes_follow_their_formulas(name, epoch):
    found = rate(name, epoch, BATCH.get(name))
    assert found == pytest.approx(FORMULAS[name](epoch), rel=1e-6)


@pytest.mark.parametrize(
    ("step", "printed"),
    [
        (0, "0.1"), (223, "2.45"), (445, "4.78946"), (446, "4.53373"), (4020, "2.4"),
        (8040, "0.0"),
    ],
)  # fmt: skip
def test_codreanu_counts_the_iterations_of_the_whole_run(step, printed):
    assert_printed(rate("codreanu2017", step * 14336 / IMAGENET), printed)


@pytest.mark.parametrize(("name", "top"), [("", 4.8), (":11520", 4.5)])
@pytest.mark.parametrize("step", [0, 1, 223, 445, 446, 447, 4020, 8039])
def test_codreanu_s_rates_follow_their_formula(name, top, step):
    climbing = 0.1 + (top - 0.1) * step / 446
    expected = climbing if step < 446 else top * (1 - step / 8040)
    found = rate(f"codreanu2017{name}", step * 14336 / IMAGENET)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("step", [0, 1, 100, 401])
def test_codreanu_collapses_by_a_square(step):
    found = rate("codreanu2017:collapse", step * 14336 / IMAGENET)
    assert found == pytest.approx(0.254 * (1 - step / 402) ** 2, rel=1e-6)


TENSORFLOW = {  # recipe: images, peak, epochs of warm-up
    "tf_tpu_lars_32k": (32768, 34, 12),
    "ying2018_32k": (32768, 34, 12),
    "ying2018_64k": (65536, 35, 34),
}


@pytest.mark.parametrize(
    ("step", "printed"),
    [
        (100, "7.24673"), (469, "33.98715"), (470, "33.97771"), (1000, "23.1919"),
        (2000, "8.43332"), (3000, "0.984593"), (3518, "0.000104"),
    ],
)  # fmt: skip
def test_tensorflow_counts_whole_updates(step, printed):
    for name in ("tf_tpu_lars_32k", "ying2018_32k"):
        assert_printed(rate(name, step * 32768 / IMAGENET), printed)


@pytest.mark.parametrize("name", TENSORFLOW)
@pytest.mark.parametrize("step", [1, 100, 469, 470, 664, 665, 1000, 1759])
def test_tensorflow_s_rates_follow_their_formula(name, step):
    batch, top, epochs = TENSORFLOW[name]
    warm, last = (int(part * IMAGENET / batch) for part in (epochs, 90))
    expected = top * step * batch / IMAGENET / epochs
    if step > warm:
        left = 1 - (step - warm) / (last - warm + 1)
        expected = 1e-4 + (top - 1e-4) * left**2
    found = rate(name, step * batch / IMAGENET)
    assert found == pytest.approx(expected, rel=1e-6)


def test_tensorflow_s_updates_have_the_published_corners():
    per_epoch = IMAGENET / 32768
    assert (int(12 * per_epoch), int(90 * per_epoch)) == (469, 3518)
    assert lr.whole_step_part(3518, warmup_steps=469, steps=3518) == 3049 / 3050
    between = rate("tf_tpu_lars_32k", 1000.7 / per_epoch)
    assert between == rate("tf_tpu_lars_32k", 1000 / per_epoch)


def test_a_warm_up_from_zero_is_not_goyal_s():
    tensorflow = replace(GOYAL, lr=replace(GOYAL.lr, warmup_start=0.0))
    for epoch in (0, 1, 2.5, 4.99):
        assert lr.rate(tensorflow, batch=8192, epoch=epoch) < lr.rate(
            GOYAL, batch=8192, epoch=epoch
        )
    per_gpu = replace(GOYAL, lr=replace(GOYAL.lr, warmup_start=0.0125))
    assert lr.rate(per_gpu, batch=8192, epoch=0) != 0.1


@pytest.mark.parametrize("row", mlperf_lars.ROWS, ids=lambda row: str(row.batch))
def test_mlperf_decays_for_its_updates_after_the_warm_up(row):
    per_epoch = IMAGENET / row.batch
    name = f"mlperf_lars:{row.batch}"

    def at(updates_after_warmup):
        return rate(name, row.warmup_epochs + updates_after_warmup / per_epoch)

    assert at(0) == pytest.approx(row.lr, rel=1e-6)
    assert rate(name, row.warmup_epochs / 2) == pytest.approx(row.lr / 2, rel=1e-6)
    half = 1e-4 + (row.lr - 1e-4) / 4
    assert at(row.decay_steps / 2) == pytest.approx(half, rel=1e-6)
    assert at(row.decay_steps) == pytest.approx(1e-4, rel=1e-6)
    assert at(row.decay_steps + 9) == pytest.approx(1e-4, rel=1e-6)
    slowest = int(row.epochs.split("-")[1])  # else it would end before it converges
    assert recipe.load(name).epochs >= slowest


@pytest.mark.parametrize(
    ("scaling", "expected"), [("linear", 29 / 4), ("sqrt", 29 / 2), ("none", 29)]
)
def test_a_smaller_batch_scales_the_rate_by_the_recipe_s_rule(scaling, expected):
    mikami = recipe.load("mikami2018_exp2")
    changed = replace(mikami, lr=replace(mikami.lr, scaling=scaling))
    assert lr.peak(changed, batch=55296 // 4) == pytest.approx(expected)


def test_a_warm_up_never_falls():
    # 2 ranks of 32: the peak is below the first rate of the warm-up, so there is none.
    assert rate("you2017_16k", 0, batch=64) == pytest.approx(33 * sqrt(64 / 16000))


@pytest.mark.parametrize("name", recipe.names())
def test_no_rate_is_negative_and_the_last_is_the_lowest_after_the_peak(name):
    chosen = recipe.load(name)
    points = [chosen.lr.span_epochs * i / 1000 for i in range(1001)]
    rates = [rate(name, epoch) for epoch in points]
    assert min(rates) >= 0 and rates[-1] == min(rates[500:])


def test_a_constant_rate_is_constant():
    constant = replace(GOYAL, lr=replace(GOYAL.lr, shape="constant", warmup_epochs=0.0))
    assert {lr.rate(constant, batch=256, epoch=e) for e in (0, 45, 90)} == {0.1}


def test_doctests():
    assert doctest.testmod(lr).failed == 0
