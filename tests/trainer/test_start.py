import re

import pytest
from alone import Alone
from jpegs import write_folder

from collectives import InvalidArgument
from trainer import start
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.settings import parse

TINY = [
    "--model.width", "4", "--model.blocks", "[1]", "--images.size", "16",
    "--batch.per_worker", "4",
]  # fmt: skip


def prepared(root, output, *flags):
    settings = parse([
        *TINY, "--data", "imagefolder", "--data-dir", str(root),
        "--output", str(output), *flags,
    ])  # fmt: skip
    run = start.prepare(Alone(), settings, Place(), Interrupt())
    if run is not None:
        run.recorder.close()
    return run


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", {"train": 7, "val": 2})


def test_a_plan_counts_the_images_of_the_directory(folder, tmp_path, capsys):
    assert prepared(folder, tmp_path / "out", "--dry-run") is None
    assert "data imagefolder (21 training images)" in capsys.readouterr().out


def test_a_plan_without_the_directory_says_what_it_assumes(tmp_path, capsys):
    missing = tmp_path / "missing"
    assert prepared(missing, tmp_path / "out", "--dry-run") is None
    output = capsys.readouterr().out
    assert f"no directory {missing}: as many images as ImageNet's" in output
    assert "data imagefolder (1,281,167 training images)" in output


def test_a_plan_of_a_directory_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="train cannot be read"):
        prepared(tmp_path, tmp_path / "out", "--dry-run")


def test_an_unreadable_image_is_refused_before_anything_is_written(folder, tmp_path):
    (folder / "val" / "emu" / "0.jpg").write_bytes(b"no image at all")
    with pytest.raises(InvalidArgument, match="1 of 27 .*val/emu/0.jpg: no image"):
        prepared(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for flags in (["--data-errors", "skip"], ["--check-images", "0"]):
        assert prepared(folder, tmp_path / "out", *flags) is not None


class Stand:
    """DALI's loader, by its arguments."""

    def __init__(self, dataset, sampler, *, threads, place):
        self.dataset, self.sampler, self.threads = dataset, sampler, threads


@pytest.mark.parametrize(("workers", "threads"), [("0", 1), ("3", 3)])
def test_the_loader_dali_gets_images_samplers_and_threads(
    folder, tmp_path, monkeypatch, workers, threads
):
    from trainer import dali

    monkeypatch.setattr(dali, "check", lambda dataset: None)
    monkeypatch.setattr(dali, "load", Stand)
    flags = ["--loader", "dali", "--workers", workers]
    run = prepared(folder, tmp_path / "out", *flags)
    assert isinstance(run.batches, Stand) and isinstance(run.test_batches, Stand)
    assert run.batches.sampler is run.sampler and run.batches.threads == threads
    assert (run.batches.dataset, run.test_batches.dataset) == run.datasets


def test_the_loader_dali_is_refused_where_it_is_not_installed(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "nvidia.dali", None)
    cure = re.escape("--loader dali: nvidia-dali is not installed; pip install 'mpi-c")
    with pytest.raises(InvalidArgument, match=cure):
        prepared(folder, tmp_path / "out", "--loader", "dali")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags", [["--loader", "dali"], ["--data-errors", "skip"], ["--loader", "cupy"]]
)
def test_a_flag_for_image_files_is_refused_without_any(flags):
    with pytest.raises(InvalidArgument, match=f"{flags[0]}: "):
        parse(flags)
