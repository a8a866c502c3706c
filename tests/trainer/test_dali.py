import numpy as np
import pytest
import torch
from jpegs import write_folder

from collectives import InvalidArgument
from trainer import dali, loader
from trainer.data import imagefolder
from trainer.fields import Images
from trainer.images.decode import UnreadableImage
from trainer.place import Place
from trainer.sampler import Sampler, TestSampler

SMALL = Images(size=32, resize=36)
LEVEL = 1 / 255 / 0.224  # a level of 255, normalised


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", {"train": 7, "val": 2})


def load(root, *, train=True, images=SMALL, **options):
    return imagefolder.load(
        str(root), train=train, images=images, classes=9, seed=1, **options
    )


def test_without_dali_the_package_is_named(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nvidia.dali", None)
    with pytest.raises(InvalidArgument, match=r"pip install 'mpi-.*\[dali\]'"):
        dali.load(load(folder), Sampler(21, rank=0, size=1, per_worker=4, seed=1),
                  threads=1, place=Place())  # fmt: skip


@pytest.fixture
def installed():
    pytest.importorskip("nvidia.dali", reason="DALI is not installed")


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("normalise", ["deviation", "half"])
def test_dali_makes_the_batches_of_the_other_loader(
    folder, installed, train, normalise
):
    images = Images(size=32, resize=36, normalise=normalise)
    dataset = load(folder, train=train, images=images, sizes=[24, 32])
    if train:
        sampler = Sampler(21, rank=1, size=2, per_worker=3, seed=1)
    else:
        sampler = TestSampler(6, rank=0, size=1, per_worker=4)
    for epoch in (0, 1):
        if train:
            sampler.start(epoch=epoch, samples_seen=6)
        other = list(loader.load(dataset, sampler, workers=0, place=Place()))
        found = list(dali.load(dataset, sampler, threads=2, place=Place()))
        assert [len(labels) for _, labels in found] == ([3, 3] if train else [4, 2])
        for (here, labels), (there, same) in zip(found, other, strict=True):
            assert torch.equal(labels, same) and here.shape == there.shape
            difference = (here - there).abs()
            assert difference.mean() < LEVEL and difference.max() < 5 * LEVEL


def test_a_damaged_image_is_refused_by_name(folder, installed):
    path = folder / "train" / "cat" / "0.jpg"
    path.write_bytes(b"no image at all")
    sampler = Sampler(21, rank=0, size=1, per_worker=3, seed=1)
    with pytest.raises(UnreadableImage, match="cat/0.jpg"):
        list(dali.load(load(folder), sampler, threads=1, place=Place()))


@pytest.mark.parametrize("change", [{"jitter": 0.4}, {"lighting": 0.1}])
def test_what_dali_cannot_do_is_refused(folder, installed, change):
    dataset = load(folder, images=Images(size=32, resize=36, **change))
    with pytest.raises(InvalidArgument, match="cannot change colours"):
        dali.check(dataset)
    with pytest.raises(InvalidArgument, match="cannot change colours or skip"):
        dali.check(load(folder, errors="skip"))
    with pytest.raises(InvalidArgument, match="--data imagefolder"):
        dali.check(np.zeros(3))
