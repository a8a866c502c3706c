import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from alone import Alone
from jpegs import encode, picture, write_folder

from collectives import InvalidArgument
from trainer import dataset, evaluate, loader
from trainer.data import imagefolder
from trainer.data.__main__ import main
from trainer.fields import Images
from trainer.images.decode import DECODERS, UnreadableImage, fastest
from trainer.place import Place
from trainer.sampler import Sampler

SMALL = Images(size=32, resize=36)
TRAINING = 3 * 7  # images


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", {"train": 7, "val": 2})


def load(root, *, train=True, classes=1000, images=SMALL, seed=1, **options):
    return imagefolder.load(
        str(root), train=train, images=images, classes=classes, seed=seed, **options
    )


def batches(training, *, rank=0, size=1, per_worker=1, seen=0, epoch=3, workers=0):
    """Return the batches of a rank for the rest of an epoch."""
    sampler = Sampler(TRAINING, rank=rank, size=size, per_worker=per_worker, seed=1)
    sampler.start(epoch=epoch, samples_seen=seen)
    found = loader.load(training, sampler, workers=workers, place=Place())
    return list(found)


def images_of(found):
    """Return the bytes of each image, to be counted whatever their order."""
    return sorted(
        (image.numpy().tobytes(), int(label))
        for images, labels in found
        for image, label in zip(images, labels, strict=True)
    )


def test_classes_are_numbered_by_name(folder):
    training, test = load(folder), load(folder, train=False)
    assert (len(training), len(test), training.classes) == (21, 6, 3)
    assert [training[0, i][1] for i in range(21)] == [0] * 7 + [1] * 7 + [2] * 7
    image, label = test[0, 5]
    assert image.shape == (3, 32, 32) and image.dtype == torch.float32 and label == 2


def test_views_depend_on_epoch_and_image_in_training_only(folder):
    training, test = load(folder), load(folder, train=False)
    assert torch.equal(training[1, 2][0], load(folder)[1, 2][0])
    assert not torch.equal(training[1, 2][0], training[2, 2][0])
    assert not torch.equal(training[1, 2][0], load(folder, seed=2)[1, 2][0])
    assert torch.equal(test[0, 2][0], test[1, 2][0])


COLOURFUL = Images(size=32, resize=36, jitter=0.4, lighting=0.1)


@pytest.mark.parametrize("images", [SMALL, COLOURFUL])
@pytest.mark.parametrize("workers", [0, 2])
def test_three_ranks_see_the_pixels_of_one(folder, images, workers):
    training = load(folder, images=images)
    one = images_of(batches(training))
    three = [
        batch
        for rank in range(3)
        for batch in batches(training, rank=rank, size=3, workers=workers)
    ]
    assert images_of(three) == one and len(one) == TRAINING


def test_three_ranks_continue_an_epoch_of_two(folder):
    training = load(folder)
    one = images_of(batches(training))
    first = [
        batch
        for rank in range(2)
        for batch in batches(training, rank=rank, size=2, per_worker=3)[:2]
    ]
    rest = [
        batch
        for rank in range(3)
        for batch in batches(training, rank=rank, size=3, seen=12)
    ]
    assert images_of(first + rest) == one


def test_loading_leaves_the_global_random_numbers_alone(folder):
    state = torch.get_rng_state()
    batches(load(folder), workers=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_epoch_has_the_size_it_is_given(folder):
    training = load(folder, sizes=[16, 24, 32])
    sizes = [training[epoch, 0][0].shape[-1] for epoch in range(5)]
    assert sizes == [16, 24, 32, 32, 32]
    worked = [images.shape for images, _ in batches(training, epoch=1, workers=1)]
    assert set(worked) == {(1, 3, 24, 24)}


def test_both_decoders_see_the_same(folder):
    if fastest() == "pillow":
        pytest.skip("simplejpeg is not installed")
    one, other = (load(folder, decoder=decoder) for decoder in DECODERS)
    for number in range(TRAINING):
        difference = (one[0, number][0] - other[0, number][0]).abs()
        assert difference.max() < 0.1


BAD = 4  # of cat, the last but two


@pytest.fixture
def damaged(folder):
    (folder / "train" / "cat" / f"{BAD}.jpg").write_bytes(b"no image at all")
    return folder


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_refused_by_name(damaged, workers):
    with pytest.raises(UnreadableImage, match="cat/4.jpg cannot be read: no image of"):
        batches(load(damaged), workers=workers)


def test_an_image_that_has_gone_is_refused_by_name(folder):
    training = load(folder)
    (folder / "train" / "dog" / "0.jpg").unlink()
    with pytest.raises(UnreadableImage, match="dog/0.jpg cannot be read: No such file"):
        training[0, 7]


def test_the_next_image_takes_the_place_of_an_unreadable_one(damaged):
    training = load(damaged, errors="skip")
    image, label = training[0, BAD]
    assert label == 0 and image.abs().sum() > 0
    # It is seen as the random numbers of the first have it.
    assert not torch.equal(image, training[0, BAD + 1][0])
    assert torch.equal(image, load(damaged, errors="skip")[0, BAD][0])


def test_the_first_image_follows_the_last(folder):
    (folder / "train" / "emu" / "6.jpg").write_bytes(b"x")
    assert load(folder, errors="skip")[0, TRAINING - 1][1] == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_gives_the_same_on_any_number_of_ranks(damaged, workers):
    one = images_of(batches(load(damaged, errors="skip")))
    three = []
    for rank in range(3):
        mine = load(damaged, errors="skip")
        three += batches(mine, rank=rank, size=3, workers=workers)
    assert images_of(three) == one and len(one) == TRAINING


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_skipped_is_told_whoever_met_it(damaged, workers):
    training = load(damaged, errors="skip")
    assert dataset.skipped(training, Alone()) == []
    batches(training, workers=workers)
    batches(training, workers=workers)
    expected = [str(damaged / "train" / "cat" / "4.jpg")]
    assert dataset.skipped(training, Alone()) == expected


def test_a_data_set_that_refuses_has_skipped_nothing(folder):
    assert dataset.skipped(load(folder), Alone()) == []


def test_a_directory_of_nothing_but_damage_is_refused(folder):
    for path in (folder / "train").rglob("*.jpg"):
        path.write_bytes(b"x")
    with pytest.raises(UnreadableImage, match="100 images in a row cannot be read"):
        load(folder, errors="skip")[0, 0]


def test_an_unreadable_test_image_counts_as_not_recognised(folder):
    (folder / "val" / "dog" / "1.jpg").write_bytes(b"x")
    test = load(folder, train=False, errors="skip")
    items = [test[0, number] for number in range(6)]
    labels = torch.tensor([label for _, label in items])
    assert labels.tolist() == [0, 0, 1, -100, 2, 2]
    images = torch.stack([image for image, _ in items])
    right = torch.nn.functional.one_hot(labels.clamp(0), 3) * 50.0
    model = Fixed(right)
    result = evaluate.count_correct(model, [(images, labels)])
    assert (result.correct, result.count) == (5, 6)
    assert result.loss == pytest.approx(0, abs=1e-6)


class Fixed(torch.nn.Module):
    """Gives the scores it was made with, negated for mirror images."""

    def __init__(self, scores):
        super().__init__()
        self.scores = torch.nn.Parameter(scores)
        self.first = None

    def forward(self, images):
        if self.first is None:
            self.first = images.clone()
        return self.scores if torch.equal(images, self.first) else -self.scores


def test_mirror_images_are_averaged_where_asked_for():
    images, labels = torch.rand(4, 3, 5, 5), torch.arange(4)
    plain = evaluate.count_correct(Fixed(torch.eye(4) * 9), [(images, labels)])
    both = evaluate.count_correct(
        Fixed(torch.eye(4) * 9), [(images, labels)], flip=True
    )
    assert plain.correct == 4
    assert both.loss == pytest.approx(np.log(4))  # the scores cancel


def test_empty_files_are_refused_before_training(folder):
    (folder / "train" / "cat" / "0.jpg").write_bytes(b"")
    with pytest.raises(InvalidArgument, match="files of 0 bytes: .*cat/0.jpg; remove"):
        load(folder)
    assert load(folder, errors="skip")[0, 0][1] == 0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("train", "train cannot be read .No such file"),
        ("val", "val cannot be read .No such file.* --data-dir"),
        ("empty", "no image in"),
        ("extra", "val has classes that .*train has not: fox"),
        ("missing", "train has classes that .*val has not: dog"),
        ("file", "train cannot be read .Not a directory"),
    ],
)
@pytest.mark.parametrize("train", [True, False])
def test_a_bad_directory_is_refused_with_what_was_expected(
    folder, tmp_path, damage, words, train
):
    if damage in ("train", "val"):
        (folder / damage).rename(tmp_path / "elsewhere")
    elif damage == "empty":
        for path in folder.rglob("*.jpg"):
            path.unlink()
    elif damage == "extra":
        (folder / "val" / "fox").mkdir()
    elif damage == "missing":
        (folder / "val" / "dog").rename(tmp_path / "elsewhere")
    else:
        (folder / "train").rename(tmp_path / "elsewhere")
        (folder / "train").write_text("no directory")
    with pytest.raises(InvalidArgument, match=words):
        load(folder, train=train)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 2}, "use --model.classes 3"),
        ({"errors": "ignore"}, "got errors 'ignore', expected one of refuse, skip"),
        ({"decoder": "opencv"}, "expected one of simplejpeg, pillow"),
        ({"images": Images(crop="ten")}, "images.crop: got 'ten'"),
    ],
)
def test_a_bad_option_is_refused_with_the_valid_ones(folder, options, words):
    with pytest.raises(InvalidArgument, match=words):
        load(folder, **options)


class Witness:
    """A data set that says what its process has imported."""

    def __init__(self, inner):
        self.inner = inner

    def __getitem__(self, key):
        image, _ = self.inner[key]
        distributed = sys.modules.get("torch.distributed")
        joined = distributed is not None and distributed.is_initialized()
        return image, int("mpi4py" in sys.modules) + 2 * joined


def test_worker_processes_know_nothing_of_mpi(folder):
    found = batches(Witness(load(folder)), workers=2)
    assert {int(label) for _, labels in found for label in labels} == {0}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The directory that the command makes, with its last line."""
    root = tmp_path_factory.mktemp("prepared") / "digits"
    command = [sys.executable, "-m", "trainer.data", "prepare", root, "--size", "16"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return root, done.stdout


def test_the_command_makes_a_directory_that_trains(prepared):
    root, output = prepared
    assert "1437 in train, 360 in val; 10 classes, 16x16 pixels" in output
    assert (len(load(root)), len(load(root, train=False))) == (1437, 360)


def test_nothing_is_written_where_something_is(prepared, capsys):
    assert main(["prepare", str(prepared[0])]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["prepare", "new", "--size", "7"]) == 2
    assert not Path("new").exists()


def test_prepared_images_are_the_same_each_time(prepared, tmp_path):
    assert main(["prepare", str(tmp_path / "again"), "--size", "16"]) == 0
    written = sorted(prepared[0].rglob("*.jpg"))
    assert len(written) == 1797
    for path in written:
        again = tmp_path / "again" / path.relative_to(prepared[0])
        assert path.read_bytes() == again.read_bytes()


def test_the_command_finds_what_is_wrong_with_a_directory(folder, capsys):
    assert main(["check", str(folder)]) == 0
    output = capsys.readouterr().out
    assert "train: 21 images, 3 classes of 7 to 7, 0.0 MiB" in output
    assert "all is well" in output
    first = folder / "train" / "cat" / "0.jpg"
    first.write_bytes(first.read_bytes()[:300])
    (folder / "train" / "dog" / "empty.jpg").write_bytes(b"")
    (folder / "val" / "fox").mkdir()
    assert main(["check", str(folder)]) == 1
    output = capsys.readouterr().out
    for words in ("cat/0.jpg: ", "dog/empty.jpg: ", "class fox has no image in val",
                  "class fox is in val but not in train"):  # fmt: skip
        assert words in output
    assert main(["check", "--quick", str(folder)]) == 1
    output = capsys.readouterr().out
    assert "cat/0.jpg" not in output and "dog/empty.jpg: 0 bytes" in output


def test_a_directory_that_is_not_there_is_told_in_a_line(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and f"{tmp_path}/train" in errors


def test_a_png_named_jpg_trains_too(folder):
    data = encode(picture(60, 44, seed=5), "PNG")
    (folder / "train" / "cat" / "0.jpg").write_bytes(data)
    assert load(folder)[0, 0][0].shape == (3, 32, 32)
