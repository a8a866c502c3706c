"""The comparison of trainers, without training."""

import json

import numpy as np
import pytest

from bench import compare_report as report
from bench.compare_options import Options, parse, parser
from bench.compare_report import Record
from collectives import InvalidArgument, algorithms

META = {key: key for key in report.HEADER}


def record(seconds, *, waited=((0.0,), (0.0,)), losses=((2.0, 1.0), (4.0, 1.0))):
    """Return what two ranks measured."""
    return Record(*(np.array(series) for series in (seconds, waited, losses)))


def test_an_update_takes_as_long_as_on_its_slowest_rank():
    steps = [[1.0, 3.0, 5.0], [2.0, 2.0, 2.0]]
    (row,) = report.rows({"ours": record(steps)}, batch=30)
    assert row.update_ms == 3000  # median of 2, 3, 5
    assert row.images_per_s == 2 * 30 / 3
    assert row.percentiles_ms["max"] == 5000


def test_ratios_are_of_images_per_second():
    found = report.rows(
        {
            "ours": record([[2.0], [2.0]]),
            "ddp-gloo": record([[3.0], [3.0]]),
            "none": record([[1.0], [1.0]]),
        },
        batch=1,
    )
    assert [row.ratio_ddp for row in found] == [1.5, 1.0, 3.0]
    assert [row.ratio_none for row in found] == [0.5, pytest.approx(1 / 3), 1.0]


def test_without_a_baseline_there_is_no_ratio_to_it():
    (row,) = report.rows({"ours": record([[2.0], [2.0]])}, batch=1)
    assert row.ratio_ddp is row.ratio_none is row.loss_difference is None
    assert "N/A" in report.table(META, [row], 0.1)
    assert "# losses: not compared" in report.table(META, [row], 0.1)


def test_exposed_is_what_the_rank_waits_that_comes_last():
    late = record([[1.0, 1.0], [1.0, 1.0]], waited=[[0.5, 0.1], [0.1, 0.3]])
    (row,) = report.rows({"ours": late}, batch=1)
    assert row.exposed_ms == pytest.approx(100)


def compared(losses):
    theirs = record([[1.0], [1.0]])
    found = report.rows(
        {"ours": record([[1.0], [1.0]], losses=losses), "ddp-gloo": theirs}, batch=1
    )
    return found


def test_equal_losses_differ_by_nothing_and_are_their_mean_over_ranks():
    row, other = compared([[2.0, 1.0], [4.0, 1.0]])
    assert row.early_difference == row.loss_difference == 0
    assert other.early_difference is other.loss_difference is None
    assert row.losses == [3.0, 1.0]
    assert report.beyond([row, other], 0.0) == []


@pytest.mark.parametrize("wrong", [1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("place", [(0, 0), (1, 1)])
def test_one_wrong_loss_of_one_rank_is_noticed(wrong, place):
    losses = np.array([[2.0, 1.0], [4.0, 1.0]])
    losses[place] *= wrong
    found = compared(losses)
    assert report.beyond(found, 0.05) == ["ours"]
    assert "FAILED: ours beyond 0.05" in report.table(META, found, 0.05)


def test_the_trainer_knows_the_mean_loss_which_is_compared_with_that_of_ddp():
    times = [[1.0], [1.0]]
    mean = record(times, losses=[[3.0, 1.0], [3.0, 1.0]])
    for wrong, difference in ((1.0, 0.0), (1.5, 0.5)):
        losses = mean.losses * [1.0, wrong]
        records = {"trainer": mean._replace(losses=losses), "ddp-gloo": record(times)}
        row, _ = report.rows(records, batch=1)
        assert row.early_difference == row.loss_difference == difference
        assert row.exposed_ms == 0
        assert report.beyond([row], 0.1) == ["trainer"] * (difference > 0)


def test_rounding_that_has_grown_is_told_and_forgiven():
    theirs = record([[1.0], [1.0]], losses=np.ones((2, report.EARLY + 1)))
    mine = theirs._replace(losses=theirs.losses.copy())
    mine.losses[1, report.EARLY] = 1.5
    row, _ = report.rows({"ours": mine, "ddp-gloo": theirs}, batch=1)
    assert (row.early_difference, row.loss_difference) == (0, 0.5)
    assert report.beyond([row], 0.1) == []


def test_the_file_has_the_circumstances_and_every_row(tmp_path):
    path = tmp_path / "out.json"
    report.write_json(str(path), META, compared([[2.0, 1.0], [4.0, 1.0]]))
    content = json.loads(path.read_text("utf-8"))
    assert content["meta"] == META
    assert [row["trainer"] for row in content["rows"]] == ["ours", "ddp-gloo"]


def test_the_parser_has_the_defaults_of_the_options():
    assert parse([]) == Options(("ours", "ddp-gloo", "none"))


def test_each_trainer_counts_once_and_may_name_an_algorithm():
    options = parse(["--trainer", "ours:ring, none,ours:ring"])
    assert options.trainer == ("ours:ring", "none")
    for name in ("auto", *algorithms.names()):
        assert parse(["--trainer", f"ours:{name}"]).trainer == (f"ours:{name}",)


@pytest.mark.parametrize("name", ["", "ddp", "ours:", "ours:rong", "none:ring"])
def test_an_unknown_trainer_is_refused_with_the_choices(name):
    known = "choose from trainer, ours, ddp-gloo, ddp-nccl, none, ours:auto"
    with pytest.raises(InvalidArgument, match=known):
        parse(["--trainer", name])


@pytest.mark.parametrize(
    "flag", ["--image-size", "--batch", "--steps", "--warmup", "--rounds", "--seed"]
)
def test_a_number_out_of_range_is_refused_by_its_flag(flag):
    with pytest.raises(InvalidArgument, match=f"{flag} -1: expected at least"):
        parse([flag, "-1"])


def test_on_gpus_the_plain_loop_is_the_baseline_and_halves_may_differ_more():
    assert parse(["--device", "cuda"]).trainer == ("ours", "none")
    assert parse(["--precision", "bfloat16"]).tolerance == 2e-2
    assert parse(["--precision", "float16", "--tolerance", "0"]).tolerance == 0


@pytest.mark.parametrize("flag", ["--share-gpu", "--overlap=off"])
def test_what_is_for_gpus_is_refused_without(flag):
    name = flag.split("=")[0]
    with pytest.raises(InvalidArgument, match=f"{name} is of GPUs: with --device cuda"):
        parse([flag])


def test_ddp_over_nccl_is_a_reference_too():
    theirs = record([[3.0], [3.0]])
    mine = record([[2.0], [2.0]])
    found = report.rows({"ours": mine, "ddp-nccl": theirs}, batch=1)
    assert [row.ratio_ddp for row in found] == [1.5, 1.0]
    assert "within 0.1 of ddp-nccl's" in report.table(META, found, 0.1)


def test_buckets_are_the_reducers_own_unless_given():
    assert parse([]).buckets() == {}
    options = parse(["--bucket-bytes", "4M", "--first-bucket-bytes", "1K"])
    assert options.buckets() == {"bucket_bytes": 4 << 20, "first_bucket_bytes": 1024}


def test_help_names_every_choice():
    text = parser().format_help()
    for word in ("trainer", "ours:ALGORITHM", "ddp-gloo", "none", "resnet50", "tiny"):
        assert word in text
