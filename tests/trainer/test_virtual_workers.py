import pytest
from alone import Alone
from double import assert_same, trained

from collectives import InvalidArgument, Topology
from trainer import course, lr, phases, plan, recipe
from trainer.settings import parse

IMAGENET = recipe.IMAGENET


def planned(*flags, data="synthetic", training=IMAGENET):
    settings = parse(["--dry-run", "--data", data, *map(str, flags)])
    return [plan.fit(settings, size, training) for size in (1, 3, 4096)]


@pytest.mark.parametrize("workers", [1, 3, 8, 100, 1024])
def test_without_phases_virtual_workers_are_as_many_ranks(workers):
    for name in ("goyal2017", "nvidia_rn50_v15"):
        for training in (1437, IMAGENET):
            size = "--images.size", "33"
            settings = parse(["--recipe", name, *size, "--dry-run"])
            ranks = plan.fit(settings, workers, training)
            expected = phases.of(ranks.recipe, workers)
            flags = "--recipe", name, *size, "--virtual-workers", workers
            for virtual in planned(*flags, data="digits", training=training):
                assert phases.of(virtual.recipe, 1) == expected
                assert virtual.recipe.sources["batch.phases"] == "given"


def test_each_virtual_worker_accumulates_if_asked():
    flags = "--virtual-workers", 8, "--batch.accumulation", 4
    for settings in planned(*flags):
        assert phases.of(settings.recipe, 1) == [phases.Phase(0, 8 * 32 * 4, 32)]


def test_the_published_number_of_workers_changes_nothing():
    name = "mikami2018_exp2"
    for settings in planned("--recipe", name, "--virtual-workers", 3456):
        assert settings.recipe == recipe.load(name)


@pytest.mark.parametrize("workers", [2, 16, 1024, 1728])
def test_the_rate_follows_the_batch_and_the_momentum_the_phases(workers):
    published = recipe.load("mikami2018_exp2")
    flags = "--recipe", "mikami2018_exp2", "--virtual-workers", workers
    values = planned(*flags)[0].recipe
    parts = phases.of(values, 1)
    root = (workers / 3456) ** 0.5
    assert lr.peak(values, batch=parts[0].batch) == pytest.approx(29 * root)
    for mine, theirs in zip(parts, phases.of(published, 1), strict=True):
        expected = course.momentum(published, theirs)
        assert course.momentum(values, mine) == pytest.approx(expected, abs=1e-9)
    assert values.sources["batch.phases"] == "given"
    assert values.sources["noise_scale.reference_batch"] == "derived"


@pytest.mark.parametrize("data", ["digits", "synthetic"])
def test_a_stored_configuration_repeats_the_workers(tmp_path, data):
    training = 1437 if data == "digits" else IMAGENET
    for name in ("goyal2017", "mikami2018_exp4"):
        flags = "--recipe", name, "--virtual-workers", 100
        settings = planned(*flags, data=data, training=training)[0]
        path = tmp_path / "config.yaml"
        path.write_text(settings.yaml, "utf-8")
        again = plan.fit(parse(["--config", str(path)]), 2, training)
        assert again.virtual_workers == 100
        assert again.recipe.batch.phases == settings.recipe.batch.phases
        assert again.recipe.noise_scale == settings.recipe.noise_scale


def test_the_plan_shows_virtual_workers_and_how_ranks_share_them():
    settings = planned("--recipe", "goyal2017", "--virtual-workers", 1024)[0]
    text = "\n".join(plan.dry_run(settings, Topology.sized([3]), IMAGENET))
    for words in (
        "1,024 virtual workers", "1024 workers * 32 images",
        "342 on 1 ranks, 341 on 2) = 32768", "lr 0.1 * 32768 / 256 = 12.8",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("count", ["0", "-3"])
def test_less_than_one_virtual_worker_is_refused(count):
    with pytest.raises(InvalidArgument, match=f"--virtual-workers: got {count}"):
        parse(["--virtual-workers", count])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["1438"], "would see 1438 images, in microbatches of 1, but an epoch has"),
        (["45", "--batch.per_worker", "32"], "would see 1440 images, in .* of 32"),
        (["360", "--batch.accumulation", "4"], "would see 1440 images"),
        (["6", "--batch.phases", "[[0,64,32],[30,256,32]]", "--batch.per_worker", "8",
          "--batch.accumulation", "2"], "would see 1536 images"),
    ],
)  # fmt: skip
def test_a_batch_that_no_epoch_fills_is_refused_with_a_cure(flags, words):
    settings = parse(["--virtual-workers", *flags])
    with pytest.raises(InvalidArgument, match=f"^--virtual-workers.*{words}.*fewer"):
        plan.fit(settings, 2, 1437)


def test_virtual_workers_train_a_batch_that_changes_on_the_way(tmp_path):
    flags = "mikami2018_exp4", 4, "--virtual-workers", "4"
    run = trained(Alone(), tmp_path / "a", *flags)
    assert [phase.workers for phase in run.phases] == [4, 8, 5, 7]
    assert run.step == 5 and run.sampler.accumulation == 5
    assert_same(run, trained(Alone(), tmp_path / "b", *flags))
