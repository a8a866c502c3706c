import pytest
import torch
from jpegs import write_folder
from test_loop import events, start

from trainer import loader, recipe, resizing
from trainer.data import digits, imagefolder, synthetic
from trainer.fields import Images
from trainer.place import Place
from trainer.recipe import vary
from trainer.run import execute
from trainer.sampler import Sampler, TestSampler

FFCV = recipe.load("ffcv_rn50")


def test_ffcv_s_images_grow_between_the_epochs_11_and_13():
    assert resizing.sizes(FFCV) == [160] * 12 + [192] * 4


def test_a_longer_run_keeps_the_shape():
    values = vary(FFCV, given={"epochs": 32})
    assert resizing.sizes(values) == [160] * 24 + [192] * 8


def test_without_a_ramp_the_size_stays():
    assert resizing.sizes(recipe.load("goyal2017")) == [224] * 90


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [
        (((0.0, 96), (4.0, 224)), [96, 128, 160, 192, 224, 224]),
        (((0.0, 100), (4.0, 140)), [100, 100, 128, 128, 140, 140]),
        (((1.0, 224), (3.0, 160)), [224, 224, 192, 160, 160, 160]),
        (((0.0, 64), (2.0, 128), (4.0, 64)), [64, 96, 128, 96, 64, 64]),
        (((3.0, 48),), [48] * 6),
        (((0.5, 8), (4.5, 24)), [8, 8, 8, 24, 24, 24]),  # never 0 or above the ends
    ],
)
def test_sizes_between_entries_are_multiples_of_32(ramp, expected):
    assert [resizing.ramped(ramp, epoch) for epoch in range(6)] == expected


IMAGES = Images(size=20, resize=40, test_size=36, crop="area", min_area=0.5)
SIZES = [16, 24]


@pytest.fixture(params=[digits, synthetic, imagefolder])
def parts(request, tmp_path):
    """Return the training and the test images of each data set, of growing size."""
    root = None
    if request.param is imagefolder:
        root = str(write_folder(tmp_path / "images", {"train": 7, "val": 2}))
    return [
        request.param.load(
            root, train=train, images=IMAGES, classes=1000, seed=1, sizes=SIZES
        )
        for train in (True, False)
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_data_set_follows_the_epoch(parts, workers):
    training, test = parts
    sampler = Sampler(12, rank=0, size=1, per_worker=3, seed=1)
    batches = loader.load(training, sampler, workers=workers, place=Place())
    for epoch, size in enumerate((16, 24, 24)):
        sampler.start(epoch=epoch)
        shapes = {tuple(images.shape) for images, _ in batches}
        assert shapes == {(3, 3, size, size)}
    seen = TestSampler(4, rank=0, size=1, per_worker=2)
    for images, _ in loader.load(test, seen, workers=workers, place=Place()):
        assert images.shape == (2, 3, 36, 36)


def test_the_loader_gives_what_the_data_set_has(parts):
    training, _ = parts
    sampler = Sampler(12, rank=0, size=1, per_worker=3, seed=1)
    sampler.start(epoch=1)
    found = list(loader.load(training, sampler, workers=0, place=Place()))
    for keys, (images, _) in zip(sampler, found, strict=True):
        assert torch.equal(images, torch.stack([training[key][0] for key in keys]))


def shapes_of(run):
    """Note the sides of images that a run's model sees, in training and in tests."""
    seen = {True: [], False: []}

    def note(model, arguments):
        sizes, size = seen[model.training], arguments[0].shape[-1]
        if sizes[-1:] != [size]:
            sizes.append(size)

    for model in {run.model, run.ema.model if run.ema else run.model}:
        model.register_forward_pre_hook(note)
    return seen


def test_a_run_trains_on_growing_images_and_goes_on_with_them(tmp_path):
    growing = (
        "--images.ramp", "[[0,16],[45,24]]", "--images.test_size", "28",
    )  # fmt: skip
    run = start(tmp_path / "whole", *growing)
    seen = shapes_of(run)
    assert execute(run) == 0
    assert seen == {True: [16, 24], False: [28]}
    execute(start(tmp_path / "parts", *growing, "--max-steps", "13"))
    again = start(tmp_path / "parts", *growing, "--resume", "auto")
    seen = shapes_of(again)
    execute(again)
    assert seen[True] == [24]
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_an_evaluation_averages_the_scores_of_mirror_images(tmp_path):
    for name in ("true", "false"):
        run = start(tmp_path / name, "--images.test_flip", name, "--max-steps", "3")
        execute(run)
        scores, labels = [], []
        with torch.no_grad():
            for images, label in run.test_batches:
                mirrored = images.flip(3) if name == "true" else images
                scores.append((run.model(images) + run.model(mirrored)) / 2)
                labels.append(label)
        loss = torch.nn.functional.cross_entropy(
            torch.cat(scores).double(), torch.cat(labels)
        )
        told = next(e for e in events(tmp_path / name) if e["event"] == "eval")
        assert told["loss"] == pytest.approx(loss.item(), rel=1e-6)
