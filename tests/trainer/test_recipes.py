"""Each recipe's published values, and that what nobody has confirmed is `chosen`."""

import pytest

from trainer import recipe
from trainer.recipe import IMAGENET, flatten
from trainer.recipes import __main__ as command
from trainer.recipes import mlperf_lars

ALL = (
    "he2016 goyal2017 codreanu2017 you2017_16k you2017_32k akiba2017 smith2017 jia2018 "
    "ying2018_32k ying2018_64k mikami2018_reference mikami2018_exp1 mikami2018_exp2 "
    "mikami2018_exp3 mikami2018_exp4 tf_tpu_lars_32k mlperf_lars nvidia_rn50_v15 "
    "ffcv_rn50 nesterov_32k"
).split()
MIKAMI = [name for name in ALL if name.startswith("mikami2018")]

UNCONFIRMED = {
    "he2016": "lr.drops images.min_area images.flip images.resize optimizer.decay_bn "
    "optimizer.decay_fc_bias model.zero_gamma",
    "goyal2017": "model.fan_mode",
    "akiba2017": "optimizer.weight_decay",
    "smith2017": "batch.phases lr.factors",
    "jia2018": "optimizer.lr lr.warmup_epochs lars.coefficient reduction.bucket_bytes "
    "reduction.switch_bytes reduction.algorithm reduction.small_algorithm",
    "ying2018_32k": "optimizer.lr lr.warmup_epochs optimizer.weight_decay bn.group "
    "reduction.algorithm",
    "ying2018_64k": "optimizer.lr lr.warmup_epochs optimizer.weight_decay bn.group "
    "reduction.algorithm",
    "codreanu2017:11520": "optimizer.lr",
    "codreanu2017": "model.zero_gamma",
    "you2017_16k": "lars.coefficient lr.reference_batch lr.origin",
    "you2017_32k": "lars.coefficient batch.phases batch.per_worker",
    "tf_tpu_lars_32k": "optimizer.form batch.phases batch.per_worker",
    "mlperf_lars": "batch.phases batch.per_worker label_smoothing",
} | dict.fromkeys(
    MIKAMI,
    "optimizer.weight_decay loss_scale images.resize lars.coefficient model.fan_mode "
    "noise_scale.clip",
)
UNCONFIRMED["mikami2018_exp2"] += " label_smoothing noise_scale.reading"
UNCONFIRMED["mikami2018_exp3"] += " label_smoothing noise_scale.reading"
UNCONFIRMED["mikami2018_exp4"] += " label_smoothing"

CODE = {
    "goyal2017": "images.crop images.min_area images.filter images.resize",
    "codreanu2017": "images.filter images.normalise optimizer.form bn.decay",
    "you2017_16k:90_epochs": "optimizer.lr lr.warmup_epochs lars.coefficient lars.eps",
    "tf_tpu_lars_32k": "images.filter images.test_crop lars.skip lr.reference_batch",
    "ying2018_32k": "images.min_area images.filter label_smoothing bn.eps",
    "mlperf_lars": "images.min_area images.normalise lr.reference_batch optimizer.lr",
}
PAPER = {
    "goyal2017": "images.normalise images.flip optimizer.nesterov lr.warmup_epochs",
    "akiba2017": "images.crop images.min_area rmsprop.lr lr.factors reduction.wire",
    "mikami2018_exp2": "lr.warmup_start lr.jumps lars.eps bn.evaluate",
}

SGD = {"optimizer.kind": "sgd", "optimizer.momentum": 0.9, "label_smoothing": 0.0}
LARS = {"optimizer.kind": "lars", "lars.coefficient": 0.001, "lr.shape": "poly"}
EXPECTED = {
    "he2016": SGD | {"model.stride": "v1", "optimizer.weight_decay": 1e-4},
    "goyal2017": SGD
    | {"optimizer.nesterov": True, "optimizer.decay_bn": False}
    | {"images.normalise": "deviation", "images.filter": "bicubic"},
    "codreanu2017": SGD
    | {
        "optimizer.weight_decay": 5e-5,
        "optimizer.form": "corrected_in_warmup",
        "bn.decay": 0.95,
        "model.stride": "v1.5",
        "images.filter": "bicubic",
        "images.normalise": "caffe",
    },
    "you2017_16k": LARS | {"model.stride": "v1", "optimizer.weight_decay": 5e-4},
    "you2017_32k": LARS | {"optimizer.lr": 40.0, "epochs": 100},
    "akiba2017": {
        "optimizer.kind": "rmsprop_warmup",
        "rmsprop.transition": "corrected",
        "rmsprop.lr": 3e-4,
        "bn.evaluate": "last_batch",
        "reduction.wire": "float16",
        "precision": "float32",
    },
    "jia2018": LARS
    | {"optimizer.decay_bn": False, "optimizer.decay_fc_bias": False, "epochs": 90}
    | {"precision": "float16", "reduction.wire": "float16"}
    | {"reduction.algorithm": "ring", "reduction.small_algorithm": "hierarchical"},
    "ying2018_32k": LARS
    | {"precision": "bfloat16", "label_smoothing": 0.1}
    | {"images.filter": "bicubic", "images.test_crop": "fraction"}
    | {"reduction.algorithm": "crossed_torus2d", "reduction.wire": None},
    "mlperf_lars": LARS
    | {"images.min_area": 0.05, "images.normalise": "mean", "images.resize": 256},
    "tf_tpu_lars_32k": LARS
    | {
        "optimizer.form": "u",
        "lars.skip": "bn_bias",
        "lars.decay_in": "loss",
        "optimizer.decay_fc_bias": True,
        "label_smoothing": 0.1,
        "images.filter": "bicubic",
        "images.test_crop": "fraction",  # 224 / 256 of the short side
        "images.size": 224,
        "images.resize": 256,
    },
    "nvidia_rn50_v15": {
        "optimizer.lr": 0.256,
        "optimizer.momentum": 0.875,
        "optimizer.weight_decay": 1 / 32768,
        "lr.shape": "cosine",
        "label_smoothing": 0.1,
    },
    "ffcv_rn50": {"images.ramp": ((11.0, 160), (13.0, 192)), "model.blurpool": True},
} | dict.fromkeys(
    MIKAMI,
    LARS
    | {
        "optimizer.form": "v",
        "lars.skip": "none",
        "lars.eps": 1e-6,
        "bn.decay": 0.9,
        "bn.eps": 1e-5,
        "precision": "float16",
        "reduction.wire": "float16",
    },
)


def test_all_recipes_are_there():
    assert set(recipe.names()) == set(ALL)


@pytest.mark.parametrize("name", EXPECTED)
def test_recipes_have_their_source_s_values(name):
    values = dict(flatten(recipe.load(name)))
    assert {path: values[path] for path in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize("name", UNCONFIRMED)
def test_what_is_not_confirmed_is_chosen_by_us(name):
    sources = recipe.load(name).sources
    for path in UNCONFIRMED[name].split():
        assert sources[path] == "chosen", path


@pytest.mark.parametrize(
    ("name", "source", "paths"),
    [(name, "code", CODE[name]) for name in CODE]
    + [(name, "paper", PAPER[name]) for name in PAPER],
)
def test_what_was_read_names_where(name, source, paths):
    sources = recipe.load(name).sources
    assert {path: sources[path] for path in paths.split()} == dict.fromkeys(
        paths.split(), source
    )


def test_of_the_untried_counter_baseline_every_value_is_chosen():
    assert set(recipe.load("nesterov_32k").sources.values()) == {"chosen"}


@pytest.mark.parametrize(
    ("name", "decay", "smoothing"),
    [
        ("mikami2018_reference", 5e-4, 0.0), ("mikami2018_exp1", 1e-4, 0.0),
        ("mikami2018_exp2", 5e-4, 0.1), ("mikami2018_exp3", 5e-4, 0.1),
        ("mikami2018_exp4", 1e-4, 0.0),
    ],
)  # fmt: skip
def test_mikami_s_experiments_differ_in_decay_and_smoothing(name, decay, smoothing):
    values = recipe.load(name)
    assert (values.optimizer.weight_decay, values.label_smoothing) == (decay, smoothing)


MLPERF = [  # images, rate, warm-up, momentum, decay, updates after it, span, epochs
    (1632, 7.4, 2, 0.9, 5e-5, 27476, 204, "33-37"),
    (3264, 10.5, 2, 0.9, 5e-5, 14523, 204, "34-37"),
    (4096, 10, 5, 0.9, 2e-4, 13137, 64, "39-42"),
    (8192, 17, 5, 0.9, 2e-4, 6095, 64, "41-44"),
    (13056, 12.8, 9, 0.9, 2.5e-5, 4710, 204, "44-46"),
    (32768, 21.2, 16, 0.94, 2.5e-5, 2267, 128, "55-57"),
    (49152, 19.405, 24, 0.951807, 1e-4, 1846, 256, "67-69"),
    (58880, 23.246, 29, 0.951807, 1e-4, 1785, 230, "78-81"),
    (65536, 24.699, 31, 0.951807, 1e-4, 1133, 128, "83-86"),
    (67840, 24.699, 31, 0.951807, 1e-4, 1133, 424, "85-87"),
]


def test_mlperf_s_rows_are_the_published_ones():
    assert list(mlperf_lars.ROWS) == MLPERF


@pytest.mark.parametrize("row", MLPERF, ids=lambda row: str(row[0]))
def test_mlperf_s_recipes_have_the_values_of_their_rows(row):
    batch, rate, warmup, momentum, decay, updates, span, epochs = row
    values = recipe.load(f"mlperf_lars:{batch}")
    optimizer, shape = values.optimizer, values.lr
    assert (optimizer.lr, optimizer.momentum) == (rate, momentum)
    assert (optimizer.weight_decay, shape.warmup_epochs) == (decay, warmup)
    assert (shape.span_epochs - warmup) * IMAGENET / batch == pytest.approx(updates)
    assert values.batch.phases == ((0.0, batch, span),) and batch % span == 0
    assert epochs in values.published.notes[0]


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("he2016", 1_104), ("codreanu2017:11520", 30_996), ("goyal2017", 32_029),
        ("you2017_16k", 61_992), ("smith2017", 64_058), ("akiba2017", 128_416),
        ("jia2018", 291_174), ("ying2018_32k", 873_523), ("ying2018_64k", 1_067_639),
        ("mikami2018_reference", 228_327), ("mikami2018_exp1", 514_755),
        ("mikami2018_exp2", 945_123), ("mikami2018_exp3", 1_002_652),
        ("mikami2018_exp4", 893_837),
    ],
)  # fmt: skip
def test_published_times_are_the_published_average_rates(name, rate):
    assert round(90 * IMAGENET / recipe.load(name).published.seconds) == rate


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("he2016", "Goyal"), ("you2017_16k", "another paper"),
        ("you2017_32k", "not 75.4"), ("mikami2018_exp4", "excludes"),
        ("mikami2018_exp1", "earlier version"),
    ],
)  # fmt: skip
def test_figures_that_mislead_have_a_footnote(name, words):
    assert any(words in note for note in recipe.load(name).published.notes)


@pytest.mark.parametrize(
    ("name", "top1", "seconds"),
    [
        ("you2017_16k:90_epochs", "73.36", None),
        ("you2017_32k:90_epochs", "72.26", None),
        ("codreanu2017", "75.6", 3600), ("codreanu2017:collapse", "76.1", None),
        ("codreanu2017:11520", "75.0", 3720), ("mikami2018_reference", "75.40", 505),
        ("mikami2018_exp1", "75.03", 224), ("mikami2018_exp3", "74.62", 115),
    ],
)  # fmt: skip
def test_variants_have_the_figures_of_their_own_runs(name, top1, seconds):
    known = recipe.load(name).published
    assert (known.top1, known.seconds) == (top1, seconds)


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("reference", "84.75"), ("exp1", ""), ("exp2", "74.08"), ("exp3", "74.08"),
        ("exp4", "73.44"),
    ],
)  # fmt: skip
def test_an_efficiency_is_told_where_it_was_measured(name, percent):
    told = recipe.load(f"mikami2018_{name}").published.baseline
    assert told == (f"one node of 4: {percent} %" if percent else "")


def test_smoothing_by_a_tenth_leaves_0_9001_to_the_true_class():
    torch = pytest.importorskip("torch")
    entropy = torch.nn.functional.cross_entropy
    scores = torch.randn(4, 1000, dtype=torch.float64)
    target = torch.full((4, 1000), 0.0001, dtype=torch.float64)
    target[:, 7] = 0.9001
    smoothing = recipe.load("tf_tpu_lars_32k").label_smoothing
    found = entropy(scores, torch.tensor([7] * 4), label_smoothing=smoothing)
    torch.testing.assert_close(found, entropy(scores, target), rtol=1e-9, atol=0)


def test_the_table_shows_every_recipe(capsys):
    assert command.main([]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["recipe", "images"]
    assert {row.split()[0] for row in rows} >= set(ALL)
    row = next(row for row in rows if row.startswith("mikami2018_exp4"))
    for words in ("34K,68K,85K,119K", "2176 x 16", "34", "0.0001/0/16,32", "129 s"):
        assert words in row


def test_figures_with_a_footnote_are_marked_in_the_table():
    lines = command.table()
    for name in ALL:
        notes = recipe.load(name).published.notes
        row = next(line for line in lines if line.split()[0] == name)
        assert row.endswith(" *") == bool(notes)
        assert all(f"* {name}: {note}" in lines for note in notes)


def test_one_recipe_shows_the_source_of_each_value(capsys):
    assert command.main(["mikami2018_exp2"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["noise_scale.reading", "smith_le", "chosen"] in lines
    assert ["lr.jumps", "[[30,50]]", "paper"] in lines
    assert ["batch.phases", "[[0,55296,16],[30,55296,32]]", "derived"] in lines


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("goyal2018", "'goyal2018', expected one of akiba2017"),
        ("mikami2018_exp2 --workers 0", "--workers: got 0, expected at least 1"),
    ],
)
def test_a_mistake_is_one_line(line, words, capsys):
    assert command.main(line.split()) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_only_jia_et_al_switch_the_algorithm_by_size():
    switching = [n for n in recipe.names() if recipe.load(n).reduction.switch_bytes]
    assert switching == ["jia2018"]


@pytest.mark.parametrize("name", MIKAMI)
def test_mikami_et_al_compute_and_send_float16_on_a_torus(name):
    values = recipe.load(name)
    assert values.precision == values.reduction.wire == "float16"
    assert values.reduction.algorithm == "torus2d"
