import pytest

from collectives import InvalidArgument, algorithms
from trainer import plan, recipe
from trainer.sampler import Sampler
from trainer.settings import parse


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


def test_flags_override_the_file_which_overrides_the_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: he2016\ndata: synthetic\nepochs: 7\nmodel: {width: 8}\n")
    settings = parse(["--config", str(path), "--epochs", "8"])
    assert (settings.name, settings.data) == ("he2016", "synthetic")
    assert (settings.recipe.epochs, settings.recipe.model.width) == (8, 8)
    assert settings.recipe.model.stride == "v1"


def test_the_stored_configuration_repeats_the_run(tmp_path):
    settings = parse(["--epochs", "3", "--model.blocks", "[1,2]", "--wire", "float16"])
    path = tmp_path / "config.yaml"
    path.write_text(settings.yaml, "utf-8")
    again = parse(["--config", str(path)])
    assert again == settings


BAD = {
    "--recipe goyal2018": "goyal2018.*goyal2017, he2016",
    "--data mnist": "mnist.*digits, imagefolder, synthetic",
    "--algorithm rings": "rings.*auto.*ring",
    "--wire int8": "int8.*float16, bfloat16, float32",
    "--lr 0.1": "perhaps you meant --optimizer.lr",
    "--epoch 3": "--epoch 3; perhaps you meant --epochs; the flags are .*--output",
    "--epochs many": "epochs.*many",
    "--epochs 0": "--epochs: got 0, expected at least 1",
    "--keep 0": "--keep: got 0, expected at least 1",
    "--images.resize 16": "--images.resize: got 16, expected at least 32",
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


def test_an_unknown_key_of_a_file_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {depth: 50}\n", "utf-8")
    with pytest.raises(InvalidArgument, match="depth"):
        parse(["--config", str(path)])


@pytest.mark.parametrize("name", ["auto", *algorithms.names()])
def test_every_algorithm_can_be_named(name):
    assert parse(["--algorithm", name]).algorithm == name


class OneNode:
    def __init__(self, size):
        self.size, self.nodes, self.rows = size, (tuple(range(size)),), ((0,) * size,)


def test_the_first_lines_name_recipe_data_ranks_grid_and_batch():
    text = "\n".join(plan.headline(parse([]), OneNode(2), 1437))
    for words in (
        "recipe goyal2017", "data digits", "ranks 2", "grid 2 x 1",
        "batch 2 ranks * 32 images * 1 = 64", "lr 0.1 * 64 / 256 = 0.025",
        "epochs=", "(chosen)",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("size", [1, 44, 45, 64, 700, 1437])
@pytest.mark.parametrize("recipe_name", recipe.names())
def test_any_number_of_ranks_finds_a_batch_of_digits(recipe_name, size):
    settings = plan.fit(parse(["--recipe", recipe_name]), size, 1437)
    per_worker = settings.recipe.batch.per_worker
    assert per_worker == min(32, 1437 // size)
    sampler = Sampler(1437, rank=0, size=size, per_worker=per_worker, seed=1)
    assert len(sampler) >= 1


def test_a_lowered_batch_is_told_as_chosen_and_stored(tmp_path):
    settings = plan.fit(parse([]), 64, 1437)
    text = "\n".join(plan.headline(settings, OneNode(64), 1437))
    assert "batch 64 ranks * 22 images * 1 = 1408" in text
    assert "batch.per_worker=22 (chosen)" in text
    path = tmp_path / "config.yaml"
    path.write_text(settings.yaml, "utf-8")
    assert parse(["--config", str(path)]).recipe.batch.per_worker == 22


def test_microbatches_count_where_the_batch_is_lowered():
    settings = plan.fit(parse(["--batch.accumulation", "4"]), 64, 1437)
    assert settings.recipe.batch.per_worker == 1437 // (64 * 4)


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


@pytest.mark.parametrize("where", ["flag", "file"])
def test_a_batch_that_was_given_is_never_lowered(tmp_path, where):
    path = tmp_path / "mine.yaml"
    path.write_text("batch: {per_worker: 32}\n", "utf-8")
    flags = {"flag": ["--batch.per_worker", "32"], "file": ["--config", str(path)]}
    settings = parse(flags[where])
    assert plan.fit(settings, 64, 1437) == settings


def test_a_batch_that_nothing_can_fit_is_left_for_the_sampler_to_refuse():
    settings = parse([])
    assert plan.fit(settings, 1438, 1437) == settings


def test_the_dry_run_shows_buckets_sources_and_every_epoch_s_rate():
    settings = parse(["--data", "synthetic"])
    lines = plan.dry_run(settings, OneNode(256), 1_281_167)
    text = "\n".join(lines)
    assert "25,557,032 parameters, 161 tensors, 5 buckets" in text
    rows = [line.split() for line in lines[-90:]]
    rates = {int(row[0]): float(row[3]) for row in rows}
    assert rates[0] == 0.1 and rates[1] == 0.72 and rates[5] == 3.2
    assert rates[30] == 0.32 and rates[80] == 0.0032
    assert any(
        line.split() == ["optimizer.nesterov", "True", "paper"] for line in lines
    )


def test_unequal_rows_of_a_grid_are_named():
    topology = OneNode(5)
    topology.rows = ((0, 1, 2), (3, 4))
    assert plan.grid(topology) == "grid 3 x 1 + 2 x 1"
