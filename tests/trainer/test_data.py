import subprocess
import sys

import numpy as np
import pytest
import torch

from collectives import InvalidArgument
from trainer import dataset, loader
from trainer.data import digits, synthetic
from trainer.fields import Images
from trainer.place import Place
from trainer.sampler import Sampler, TestSampler

SMALL = Images(size=32, resize=36, shift=2)


def load(module, root=None, *, train, classes=1000, images=SMALL, seed=1):
    return module.load(root, train=train, images=images, classes=classes, seed=seed)


def test_data_sets_are_found_by_their_files():
    assert {"digits", "imagefolder", "synthetic"} <= set(dataset.names())


@pytest.mark.parametrize("name", dataset.names())
def test_every_data_set_keeps_the_contract(name):
    module = dataset.find(name)
    assert isinstance(module.NEEDS_ROOT, bool) and isinstance(module.CHANGES, dict)
    assert module.count(None) > 0


def test_an_unknown_data_set_is_refused_with_the_valid_ones():
    with pytest.raises(InvalidArgument, match="mnist.*digits, imagefolder, synthetic"):
        dataset.find("mnist")


def test_a_directory_is_given_where_one_is_read_and_nowhere_else():
    with pytest.raises(InvalidArgument, match="--data-dir DIRECTORY"):
        dataset.check_root("imagefolder", None)
    with pytest.raises(InvalidArgument, match="leave out --data-dir here"):
        dataset.check_root("digits", "here")


def test_digits_are_split_once_and_for_all():
    raw_labels = np.repeat(np.arange(10), 180)
    training, test = digits.split(raw_labels)
    assert not set(training) & set(test)
    assert len(training) + len(test) == len(raw_labels)
    assert (np.bincount(raw_labels[test]) == 36).all() and len(test) == 360
    np.testing.assert_array_equal(test, digits.split(raw_labels)[1])


def test_digits_are_1437_and_360_normalised_images():
    training, test = load(digits, train=True), load(digits, train=False)
    assert (len(training), len(test)) == (1437, 360) and digits.count() == 1437
    image, label = test[0, 5]
    assert image.shape == (3, 32, 32) and image.dtype == torch.float32
    assert label in range(10)
    whole = torch.stack([training[0, index][0] for index in range(1437)])
    assert abs(whole.mean()) < 0.2 and whole.std() == pytest.approx(0.8, abs=0.2)


def test_digits_move_by_epoch_and_index_but_not_in_evaluation():
    training, test = load(digits, train=True), load(digits, train=False)
    views = {training[epoch, 7][0].numpy().tobytes() for epoch in range(20)}
    assert 5 < len(views) <= 20
    assert torch.equal(training[3, 7][0], load(digits, train=True)[3, 7][0])
    assert torch.equal(test[0, 7][0], test[9, 7][0])


def test_digits_need_ten_classes():
    with pytest.raises(InvalidArgument, match="model.classes is 9"):
        load(digits, train=True, classes=9)


def test_synthetic_images_depend_on_seed_and_index_only():
    one, same = load(synthetic, train=True), load(synthetic, train=True)
    assert torch.equal(one[0, 3][0], same[5, 3][0])
    assert not torch.equal(one[0, 3][0], one[0, 4][0])
    assert not torch.equal(one[0, 3][0], load(synthetic, train=False)[0, 3][0])
    assert not torch.equal(one[0, 3][0], load(synthetic, train=True, seed=2)[0, 3][0])
    assert len(one) == synthetic.count() and one[0, 0][1] in range(1000)


def loaded(dataset, sampler, *, workers=0, channels_last=False):
    place = Place(channels_last=channels_last)
    return loader.load(dataset, sampler, workers=workers, place=place)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_pool_gives_the_images_that_were_asked_for(channels_last):
    training = load(synthetic, train=True)
    sampler = Sampler(len(training), rank=1, size=2, per_worker=7, seed=1)
    sampler.start(epoch=0, samples_seen=sampler.usable - 2 * sampler.batch)
    batches = list(loaded(training, sampler, channels_last=channels_last))
    assert len(batches) == 2
    for keys, (images, labels) in zip(sampler, batches, strict=True):
        items = [training[key] for key in keys]
        assert torch.equal(images, torch.stack([image for image, _ in items]))
        assert labels.tolist() == [label for _, label in items]
        order = torch.channels_last if channels_last else torch.contiguous_format
        assert images.is_contiguous(memory_format=order)


def test_a_pool_repeats_itself():
    training = load(synthetic, train=True)
    assert torch.equal(training[0, 3][0], training[0, 3 + synthetic.POOL][0])


def test_the_loader_gives_smaller_last_test_batches():
    test = load(digits, train=False)
    sampler = TestSampler(360, rank=1, size=7, per_worker=32)
    sizes = [len(labels) for _, labels in loaded(test, sampler)]
    assert sizes == [32, 20]


def test_what_worker_processes_import_loads_no_mpi():
    code = (
        "import sys, trainer.run\n"
        "from trainer import dataset\n"
        "for name in dataset.names(): dataset.find(name)\n"
        "sys.exit('mpi4py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == 0
