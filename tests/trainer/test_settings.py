import re

import pytest

from collectives import InvalidArgument, algorithms
from trainer import flags, recipe
from trainer.settings import make_parser, parse


def test_no_arguments_at_all_is_goyal_on_the_digits():
    settings = parse([])
    assert (settings.name, settings.data) == ("goyal2017", "digits")
    assert settings.output == "runs/goyal2017-digits"
    assert settings.recipe.model == recipe.load("goyal2017").model
    assert settings.recipe.images.size == 32


def test_what_a_data_set_changes_is_called_chosen():
    sources = parse([]).recipe.sources
    assert sources["images.size"] == sources["epochs"] == "chosen"
    assert sources["optimizer.lr"] == "paper"


def test_a_flag_changes_one_value_and_is_called_given():
    settings = parse(["--optimizer.lr", "0.2", "--lr.drops", "[10, 20]"])
    assert settings.recipe.optimizer.lr == 0.2
    assert settings.recipe.lr.drops == (10.0, 20.0)
    assert settings.recipe.sources["optimizer.lr"] == "given"
    assert settings.recipe.sources["optimizer.momentum"] == "paper"


def test_another_recipe_brings_its_own_defaults():
    settings = parse(["--recipe=he2016", "--data=synthetic"])
    assert settings.recipe.model.stride == "v1"
    assert (settings.recipe.epochs, settings.recipe.images.size) == (90, 224)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"\x80\x02\xff")
    with pytest.raises(InvalidArgument, match=f"--config {path}: cannot be read"):
        parse(["--config", str(path)])


def test_flags_override_the_file_which_overrides_the_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: he2016\ndata: synthetic\nepochs: 7\nmodel: {width: 8}\n")
    settings = parse(["--config", str(path), "--epochs", "8"])
    assert (settings.name, settings.data) == ("he2016", "synthetic")
    assert (settings.recipe.epochs, settings.recipe.model.width) == (8, 8)
    assert settings.recipe.model.stride == "v1"


@pytest.mark.parametrize("last", [False, True])
def test_flags_override_a_file_wherever_it_stands(tmp_path, last):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: goyal2017\ndata: synthetic\nepochs: 7\nseed: 2\n")
    flags, file = "--recipe akiba2017 --data digits --epochs 5", f"--config {path}"
    line = f"{flags} {file}" if last else f"{file} {flags}"
    settings = parse(line.split())
    assert (settings.name, settings.data) == ("akiba2017", "digits")
    assert (settings.recipe.epochs, settings.seed) == (5, 2)
    assert settings.recipe.optimizer.kind == "rmsprop_warmup"
    sources = settings.recipe.sources
    assert [path for path in sources if sources[path] == "given"] == ["epochs"]


def test_null_in_a_file_overrides_the_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("wire: null\n")
    for line in (
        f"--config {path} --recipe akiba2017",
        f"--recipe akiba2017 --config {path}",
    ):
        assert parse(line.split()).recipe.reduction.wire is None


def test_the_stored_configuration_repeats_the_run(tmp_path):
    flags = ["--epochs", "3", "--model.blocks", "[1,2]", "--wire", "float16"]
    settings = parse(flags)
    path = tmp_path / "config.yaml"
    path.write_text(settings.yaml, "utf-8")
    again = parse(["--config", str(path)])
    assert again == settings


def test_what_was_for_one_start_is_not_repeated(tmp_path):
    path = tmp_path / "config.yaml"
    start = ["--max-steps", "1", "--resume", "auto", "--dry-run"]
    path.write_text(parse(["--seed", "2", *start]).yaml, "utf-8")
    again = parse(["--config", str(path)])
    assert (again.max_steps, again.resume, again.dry_run) == (None, None, False)
    assert again.seed == 2


def test_the_default_output_is_a_name_that_any_file_system_has():
    assert (
        parse(["--recipe", "mlperf_lars:4096"]).output == "runs/mlperf_lars-4096-digits"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: [1\n  lr: 2", "cannot be read: while parsing"),
        ("", "expected a YAML mapping .*, got nothing"),
        (
            "optimizer: 0.2",
            r"optimizer: got 0.2, expected a mapping such as {kind: sgd}",
        ),
    ],
)
def test_a_file_that_is_no_settings_is_told_in_a_line(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidArgument, match=f"^--config {path}: .*{words}") as caught:
        parse(["--config", str(path)])
    assert "\n" not in str(caught.value)


BAD = {
    "--recipe goyal2018": "goyal2018.*goyal2017, he2016",
    "--data mnist": "mnist.*digits, imagefolder, synthetic",
    "--algorithm rings": "rings.*auto.*ring",
    "--wire int8": "int8.*float16, bfloat16, float32",
    "--lr 0.1": "perhaps you meant --optimizer.lr",
    "--epoch 3": "--epoch 3; perhaps you meant --epochs.*trainer.run --help",
    "--epochs many": "epochs.*many",
    "--epochs 0": "--epochs: got 0, expected at least 1",
    "--keep 0": "--keep: got 0, expected at least 1",
    "--images.resize 16": "--images.resize: changes nothing.*images.size, images.sh",
    "--data synthetic --images.shift 1": "changes nothing, because --data synthetic",
    "--model.classes 0": "--model.classes: got 0, expected at least 1",
    "--data imagefolder": "--data-dir DIRECTORY",
    "--data-dir here": "digits reads no directory",
    "--config missing.yaml": "missing.yaml: cannot be read",
    "stray": "unrecognized arguments: stray",
}


@pytest.mark.parametrize("line", BAD)
def test_a_mistake_is_one_line_that_tells_the_cure(line):
    with pytest.raises(InvalidArgument, match=BAD[line]) as caught:
        parse(line.split())
    assert "\n" not in str(caught.value)


def test_a_configuration_file_must_be_a_mapping(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n", "utf-8")
    with pytest.raises(InvalidArgument, match="expected a YAML mapping.*got list"):
        parse(["--config", str(path)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr: 0.1", "lr: got 0.1, expected a mapping"),
        ("batch: 64", "batch: got 64, expected a mapping"),
        ("model:", "model: got None, expected a mapping"),
        ("config: 3", "config: a file names no other"),
        ("epochs: null", "--epochs: got null, expected a value"),
        ("channels_last: 'no'", "--channels-last: got 'no', expected true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidArgument, match=words) as caught:
        parse(["--config", str(path)])
    assert "\n" not in str(caught.value)


def test_a_file_of_another_data_set_s_run_can_be_tried(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("images: {resize: 300, jitter: 0.1}\n", "utf-8")
    assert parse(["--config", str(path), "--data", "synthetic"]).data == "synthetic"
    assert parse(["--config", str(path)]).recipe.images.size == 32


def test_an_unknown_key_of_a_file_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {depth: 50}\n", "utf-8")
    with pytest.raises(InvalidArgument, match="depth"):
        parse(["--config", str(path)])


@pytest.mark.parametrize("name", ["auto", *algorithms.names()])
def test_every_algorithm_can_be_named(name):
    assert parse(["--algorithm", name]).recipe.reduction.algorithm == name


ENTRIES = flags.every()
WORDS = [flag for flag, entry in ENTRIES.items() if entry.metadata["choices"]]


@pytest.mark.parametrize("flag", WORDS)
def test_a_setting_that_is_a_word_has_its_choices(flag):
    known = ", ".join(ENTRIES[flag].metadata["choices"])
    with pytest.raises(InvalidArgument, match=f"^{flag}: got 'other', .* of {known}"):
        parse([flag, "other"])


def test_the_help_explains_every_flag():
    text = " ".join(make_parser([]).format_help().split())
    for flag, entry in ENTRIES.items():
        shown = re.search(rf"{re.escape(flag)} (.*?) \((?:type|default):", text)
        assert shown and entry.metadata["meaning"] in shown[1], flag
    assert "first rate, never scaled; null: optimizer.lr; at least 0 [chosen]" in text
    assert "--optimizer.form" in text and "u | v | corrected" in text


def test_the_short_side_of_an_image_is_no_smaller_than_its_crop(tmp_path):
    (tmp_path / "train").mkdir()
    line = ["--data", "imagefolder", "--data-dir", str(tmp_path), "--images.resize"]
    with pytest.raises(InvalidArgument, match="got 200, expected at least .*size .224"):
        parse([*line, "200"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--lr.factors [1,0.1]", "got 2 for 3 drops, expected one more"),
        ("--lr.factors [1,-1,1,1]", "got -1, expected at least 0 in each"),
        ("--lr.jumps [[3,-0.5]]", "got -0.5, expected at least 0 in each"),
        ("--lr.warmup_start -5", "got -5, expected at least 0"),
        (
            "--recipe akiba2017 --lr.warmup_epochs 5 --lr.warmup_start 0",
            "got 0, expected more with --optimizer.kind rmsprop_warmup",
        ),
        ("--seed 9223372036854775808", "expected at least 0 and below 2"),
        ("--lr.warmup_epochs 90", "got 90, expected less than --lr.span_epochs"),
        ("--lr.span_epochs 0", "expected less than --lr.span_epochs"),
        ("--bn.group 0", "--bn.group: got 0, expected at least 1"),
        ("--ema_decay 1", "--ema_decay: got 1, expected at least 0 and below 1"),
        ("--ema_decay -0.1", "--ema_decay: got -0.1, expected at least 0"),
        ("--ema_decay .nan", "--ema_decay: got nan, expected at least 0"),
        ("--loss_scale 128", "got 128, but --precision float32 has no loss scale"),
        ("--ema_decay 0.9 --bn.evaluate last_batch", "use --bn.evaluate moving or"),
        ("--optimizer.lr -1", "--optimizer.lr: got -1, expected above 0"),
        ("--optimizer.lr .inf", "--optimizer.lr: got inf, expected above 0"),
        ("--bn.eps 0", "--bn.eps: got 0, expected above 0"),
        ("--bn.decay 1.5", "--bn.decay: got 1.5, expected at least 0 and below 1"),
        ("--label_smoothing 1.5", "got 1.5, expected at least 0 and below 1"),
        ("--optimizer.weight_decay -1", "got -1, expected at least 0"),
        ("--images.min_area 2", "got 2, expected above 0 and at most 1"),
        ("--lr.drops [60,30]", r"--lr.drops: got the epochs \[60,30\], expected each"),
        ("--lr.jumps [[30,50],[10,20]]", r"--lr.jumps: got the epochs \[30,10\]"),
        ("--max-steps 0", "--max-steps: got 0, expected at least 1"),
        ("--bn.ghost 1", "--bn.ghost: got 1, expected at least 2 images"),
        ("--loss_scale -1", "--loss_scale: got -1, expected at least 0"),
        ("--loss_scale .inf", "--loss_scale: got inf, expected at least 0"),
        ("--images.test_size -1", "--images.test_size: got -1, expected at least 0"),
        ("--images.ramp [[3,16],[2,32]]", r"got the epochs \[3,2\], expected each to"),
        ("--images.ramp [[2,16],[2,32]]", r"epochs \[2,2\], expected each to be later"),
        ("--images.ramp [[0,0]]", "got 0 pixels at epoch 0, expected at least 1 pixel"),
        ("--images.ramp [[-1,16]]", "got 16 pixels at epoch -1, .*and epoch 0"),
        ("--images.ramp [[1]]", "images.ramp"),
        ("--bn.recompute_batches 0", "recompute_batches: got 0, expected at least 1"),
        ("--bn.group 2 --bn.ghost 4", "got 4 with --bn.group 2.*--bn.ghost 0 or"),
    ],
)
def test_a_value_that_defines_nothing_is_refused(line, words):
    with pytest.raises(InvalidArgument, match=words) as caught:
        parse(line.split())
    assert "\n" not in str(caught.value)


EVERY = [
    *recipe.names(),
    *(v for name in recipe.names() for v in recipe.variants(name)),
]


@pytest.mark.parametrize("name", EVERY)
def test_every_recipe_can_be_asked_for_its_plan_and_stored(name, tmp_path):
    settings = parse(["--recipe", name, "--data", "synthetic", "--dry-run"])
    assert settings.recipe == recipe.load(name)
    path = tmp_path / "config.yaml"
    path.write_text(settings.yaml, "utf-8")
    assert parse(["--config", str(path), "--dry-run"]) == settings


@pytest.mark.parametrize("name", EVERY)
def test_every_recipe_can_be_trained(name):
    assert parse(["--recipe", name, "--data", "synthetic"]).name == name


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--log", "tensorboard,comet"], "--log: got 'comet', expected some of mlflow"),
        (["--progress", "dots"], "--progress: got 'dots', expected one of lines, bar"),
    ],
)
def test_what_is_not_known_to_show_or_log_is_refused(flags, message):
    pytest.importorskip("tensorboard")
    with pytest.raises(InvalidArgument, match=message):
        parse(flags)


def test_flags_of_the_run_take_a_recipe_s_values():
    line = ["--recipe", "mikami2018_exp2", "--dry-run"]
    settings = parse(line)
    chosen = settings.recipe.reduction
    assert (chosen.wire, chosen.algorithm) == ("float16", "torus2d")
    assert settings.recipe.sources["reduction.wire"] == "paper"
    other = parse([*line, "--wire", "null", "--algorithm", "ring"])
    chosen = other.recipe.reduction
    assert (chosen.wire, chosen.algorithm) == (None, "ring")
    assert other.recipe.sources["reduction.algorithm"] == "given"


def test_phases_can_be_given():
    line = ["--dry-run", "--batch.phases", "[[0,64,32],[30,128,32]]"]
    assert parse(line).recipe.batch.phases == ((0.0, 64, 32), (30.0, 128, 32))
