import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from collectives import InvalidArgument
from trainer import dataset, loader
from trainer.data import digits, imagefolder, synthetic
from trainer.place import Place
from trainer.recipe import Images
from trainer.sampler import Sampler, TestSampler

SMALL = Images(size=32, resize=36, shift=2)


def load(module, root=None, *, train, classes=1000, images=SMALL, seed=1):
    return module.load(root, train=train, images=images, classes=classes, seed=seed)


@pytest.fixture
def folder(tmp_path):
    """Real JPEGs of several sizes: two classes, 5 for training, 2 for evaluation."""
    random = np.random.default_rng(0)
    for part, counts in {"train": (3, 2), "val": (1, 1)}.items():
        for label, count in zip(("cat", "dog"), counts, strict=True):
            (tmp_path / part / label).mkdir(parents=True)
            for i in range(count):
                size = (40 + 8 * i, 60, 3)
                pixels = np.full(size, 50 + 150 * (label == "dog"), np.uint8)
                pixels += random.integers(20, size=size, dtype=np.uint8)
                image = Image.fromarray(pixels)
                image.save(tmp_path / part / label / f"{i}.jpg", quality=95)
    return str(tmp_path)


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


def test_imagefolder_numbers_classes_by_name(folder):
    training = load(imagefolder, folder, train=True)
    test = load(imagefolder, folder, train=False)
    assert (len(training), len(test), training.classes) == (5, 2, 2)
    assert [training[0, i][1] for i in range(5)] == [0, 0, 0, 1, 1]
    image, label = test[0, 1]
    assert image.shape == (3, 32, 32) and label == 1
    assert image.mean() > test[0, 0][0].mean() + 1  # dogs are the bright ones here


def test_imagefolder_crops_by_epoch_and_index(folder):
    training = load(imagefolder, folder, train=True)
    assert torch.equal(training[1, 2][0], training[1, 2][0])
    assert not torch.equal(training[1, 2][0], training[2, 2][0])


def test_random_boxes_keep_area_aspect_and_image():
    random = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = imagefolder.random_box(50, 40, 0.08, random)
        wide, high = right - left, bottom - top
        assert 0 <= left < right <= 50 and 0 <= top < bottom <= 40
        assert 0.07 < wide * high / 2000 <= 1
        assert 0.65 < wide / high < 1.5


def test_a_box_that_never_fits_is_the_centre():
    random = np.random.default_rng(0)
    assert imagefolder.random_box(1000, 10, 1.0, random) == (495, 0, 505, 10)


def test_evaluation_cuts_the_centre_after_resizing_the_short_side():
    image = Image.new("RGB", (80, 40))
    image.paste((255, 255, 255), (20, 0, 60, 40))
    view = imagefolder.evaluation_view(image, Images(size=40, resize=40))
    assert view.size == (40, 40) and view.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize(
    ("damage", "words"),
    [("train", "train is no directory"), ("val", "val is no directory"),
     ("empty", "no image in"), ("extra", "val has classes that .* has not: emu"),
     ("classes", "use --model.classes 2")],
)  # fmt: skip
def test_a_bad_directory_is_refused_with_what_was_expected(folder, tmp_path, damage,
                                                          words):  # fmt: skip
    if damage in ("train", "val"):
        (tmp_path / damage).rename(tmp_path / "elsewhere")
    elif damage == "empty":
        for path in (tmp_path / "val").rglob("*.jpg"):
            path.unlink()
    elif damage == "extra":
        (tmp_path / "val" / "emu").mkdir()
    with pytest.raises(InvalidArgument, match=words):
        load(imagefolder, folder, train=False, classes=1 if damage == "classes" else 9)


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


def test_worker_processes_load_the_same_bits(folder):
    training = load(imagefolder, folder, train=True)
    sampler = Sampler(5, rank=0, size=1, per_worker=2, seed=1)
    state = torch.get_rng_state()
    batches = {}
    for workers in (0, 1):
        sampler.start(epoch=3)
        batches[workers] = list(loaded(training, sampler, workers=workers))
    assert torch.equal(torch.get_rng_state(), state)
    for (here, labels), (there, same) in zip(batches[0], batches[1], strict=True):
        assert torch.equal(here, there) and torch.equal(labels, same)


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
