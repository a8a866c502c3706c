"""Images in directories: ``ROOT/train/CLASS/*.jpg`` and ``ROOT/val/CLASS/*.jpg``.

Classes are numbered in the order of their sorted names, as in ``train``.  What is seen
of an image, in training and in evaluation, is the recipe's (`trainer.images.view`).
In training it depends on seed, epoch and the image's number only, not on the rank or
the process that loads it.

A file that is no image is refused when it is met, by name; files of 0 bytes before the
run.  With ``errors="skip"`` the next image that can be read takes its place in
training: a batch keeps its size, and any number of ranks sees the same.  In evaluation
it counts as not recognised: the test set keeps its size.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from collectives import InvalidArgument
from trainer import resizing
from trainer.dataset import ERRORS, UnreadableImage
from trainer.fields import Images
from trainer.images import colour, decode, index, view
from trainer.images.decode import Encoded
from trainer.sampler import Key, generator

CHANGES: dict[str, object] = {}
NEEDS_ROOT = True
IMAGES = tuple(entry.name for entry in fields(Images) if entry.name != "shift")
IMAGENET = 1_281_167
NO_LABEL = -100  # of no class: never right, and left out of torch's cross entropy
TRIES = 100  # images in a row that cannot be read
CURE = (
    "replace the file, or use --data-errors skip; a larger --check-images, or `python "
    "-m trainer.data check`, finds such files before a run"
)


def count(root: str | None = None) -> int:
    """Return the number of training images below ``root``; without, ImageNet's.

    Raises:
        InvalidArgument: the directory cannot be read.
    """
    return IMAGENET if root is None else len(index.find(Path(root) / "train"))


def load(
    root: str,
    *,
    train: bool,
    images: Images,
    classes: int,
    seed: int,
    errors: str = "refuse",
    sizes: Sequence[int] | None = None,
    decoder: str | None = None,
    scaled: bool = True,
) -> "ImageFolder":
    """Find the images below ``root``.

    ``errors``: "refuse" or "skip" what cannot be read.  ``sizes``: of the training
    images in each epoch, instead of ``images.size`` in all; the last one stays.
    ``decoder``: of `decode.DECODERS`, None for the fastest that is installed.
    ``scaled``: decode no more pixels than a view needs.

    Raises:
        InvalidArgument: a directory cannot be read or has no image, ``train`` and
            ``val`` have different classes, the model has too few, a file is empty, or
            the settings make no view.
    """
    if errors not in ERRORS:
        raise InvalidArgument(
            f"data imagefolder: got errors {errors!r}, expected one of "
            f"{', '.join(ERRORS)}"
        )
    decoder = decoder or decode.fastest()
    decode.check(decoder)
    sizes = list(sizes or [images.size])
    view.check(images, sizes)
    check_classes(Path(root), classes)
    part = Path(root) / ("train" if train else "val")
    found = index.find(part)
    check_files(found, errors)
    return ImageFolder(
        found,
        train=train,
        images=images,
        seed=seed,
        errors=errors,
        sizes=sizes,
        decoder=decoder,
        scaled=scaled,
    )


def check_classes(root: Path, classes: int) -> None:
    """Refuse directories of different classes, and more classes than the model has."""
    training, test = (
        list(index.class_directories(root / part)) for part in ("train", "val")
    )
    extra = {
        ("train", "val"): sorted(set(training) - set(test)),
        ("val", "train"): sorted(set(test) - set(training)),
    }
    for (here, there), unknown in extra.items():
        if unknown:
            raise InvalidArgument(
                f"data imagefolder: {root / here} has classes that {root / there} has "
                f"not: {listed(unknown)}; both must have the same"
            )
    if len(training) > classes:
        raise InvalidArgument(
            f"data imagefolder: {len(training)} classes in {root}/train, but "
            f"model.classes is {classes}; use --model.classes {len(training)}"
        )


def check_files(found: index.Index, errors: str) -> None:
    """Refuse a directory without images, and files without content."""
    if not len(found):
        raise InvalidArgument(
            f"data imagefolder: no image in {found.part}; expected "
            f"{found.part}/CLASS/NAME with a suffix of {', '.join(index.SUFFIXES)}"
        )
    empty = found.empty()
    if empty and errors == "refuse":
        raise InvalidArgument(
            f"data imagefolder: files of 0 bytes: {listed(empty)}; remove them, or "
            "use --data-errors skip"
        )


def listed(names: list[str], most: int = 5) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


class ImageFolder:
    """Image files, read and decoded when asked for."""

    def __init__(
        self,
        found: index.Index,
        *,
        train: bool,
        images: Images,
        seed: int,
        errors: str,
        sizes: list[int],
        decoder: str,
        scaled: bool,
    ):
        """Hold the index."""
        self.index, self.classes = found, len(found.classes)
        self.train, self.images, self.seed, self.sizes = train, images, seed, sizes
        self.decoder, self.scaled = decoder, scaled
        # A byte per image, which the processes of a rank share: met, and unreadable.
        self.unreadable: Tensor | None = None
        if errors == "skip":
            self.unreadable = torch.zeros(len(found), dtype=torch.uint8)
            self.unreadable.share_memory_()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.index)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        """Return image (3, size, size) and label of ``key`` = (epoch, index).

        Raises:
            UnreadableImage: naming the file, if such files are refused.
        """
        epoch, first = key
        last = None
        for chosen in range(first, first + TRIES):
            chosen %= len(self)
            try:
                return self.pixels(epoch, first, chosen), self.index.label(chosen)
            except UnreadableImage as error:
                if self.unreadable is None:
                    raise UnreadableImage(f"{error}; {CURE}") from None
                self.unreadable[chosen] = 1
                last = error
            if not self.train:
                size = self.images.test_size or self.images.size
                return torch.zeros(3, size, size), NO_LABEL
        raise UnreadableImage(f"{TRIES} images in a row cannot be read, such as {last}")

    def pixels(self, epoch: int, first: int, chosen: int) -> Tensor:
        """Return image ``chosen``, seen as the random numbers of ``first`` have it."""
        path = self.index.path(chosen)
        try:
            image = Encoded(Path(path).read_bytes(), self.decoder)
            if not self.train:
                seen = view.test(image, self.images)
                return colour.normalise(self.square(image, seen), self.images.normalise)
            random = generator(self.seed, epoch, first)
            seen = view.training(image, self.size(epoch), self.images, random)
            return view.tensor(self.square(image, seen), self.images, random)
        except OSError as error:
            raise UnreadableImage(
                f"data imagefolder: {path} cannot be read: {error.strerror or error}"
            ) from None

    def problem(self, chosen: int) -> str | None:
        """Return the path of an image that cannot be read, and why; None if it can."""
        return decode.problem(self.index.path(chosen), self.decoder)

    def size(self, epoch: int) -> int:
        """Return the size of the training images in an epoch."""
        return resizing.of_epoch(self.sizes, epoch)

    def square(self, image: Encoded, seen: view.View) -> Any:
        """Return the pixels of a view, uint8 (size, size, 3)."""
        return view.render(image, seen, self.images.filter, scaled=self.scaled)
