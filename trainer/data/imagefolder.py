"""Images in directories: ``ROOT/train/CLASS/*.jpg`` and ``ROOT/val/CLASS/*.jpg``.

Classes are numbered in the order of their sorted names, as in ``train``.  A training
image is a crop of random area and aspect, resized (bicubic) and flipped at random; an
evaluated one has its short side resized and its centre cut.  Both are normalised by
ImageNet's mean and deviation.  The crop is fb.resnet.torch's RandomSizedCrop: aspect
uniform in [3/4, 4/3], sides swapped with probability 1/2, ten attempts, then the centre
(facebookarchive/fb.resnet.torch, datasets/transforms.lua; other libraries draw the
logarithm of the aspect).
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from collectives import InvalidArgument
from trainer.recipe import Images
from trainer.sampler import Key, generator

CHANGES: dict[str, object] = {}
NEEDS_ROOT = True
IMAGENET = 1_281_167
SUFFIXES = (".jpg", ".jpeg", ".png")
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
ATTEMPTS = 10
Box = tuple[int, int, int, int]  # left, top, right, bottom; pixels


def count(root: str | None = None) -> int:
    """Return ImageNet's number of training images: the directory is not read."""
    return IMAGENET


def load(
    root: str, *, train: bool, images: Images, classes: int, seed: int
) -> "ImageFolder":
    """List the images below ``root``.

    Raises:
        InvalidArgument: a directory is missing or empty, ``val`` has a class that
            ``train`` has not, or the model has too few classes.
    """
    names = _classes(Path(root) / "train")
    if len(names) > classes:
        raise InvalidArgument(
            f"data imagefolder: {len(names)} classes in {root}/train, but "
            f"model.classes is {classes}; use --model.classes {len(names)}"
        )
    part = Path(root) / ("train" if train else "val")
    unknown = sorted(set(_classes(part)) - set(names))
    if unknown:
        raise InvalidArgument(
            f"data imagefolder: {part} has classes that {root}/train has not: "
            f"{', '.join(unknown[:5])}"
        )
    samples = [
        (str(path), label)
        for label, name in enumerate(names)
        if (part / name).is_dir()
        for path in sorted((part / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    if not samples:
        raise InvalidArgument(
            f"data imagefolder: no image in {part}; expected "
            f"{part}/CLASS/NAME with a suffix of {', '.join(SUFFIXES)}"
        )
    return ImageFolder(
        samples, classes=len(names), train=train, images=images, seed=seed
    )


def _classes(part: Path) -> list[str]:
    if not part.is_dir():
        raise InvalidArgument(
            f"data imagefolder: {part} is no directory; expected train/CLASS/NAME.jpg "
            "and val/CLASS/NAME.jpg below --data-dir"
        )
    return sorted(entry.name for entry in part.iterdir() if entry.is_dir())


class ImageFolder:
    """Image files, decoded by Pillow when asked for."""

    def __init__(
        self,
        samples: list[tuple[str, int]],
        *,
        classes: int,
        train: bool,
        images: Images,
        seed: int,
    ):
        """Hold ``samples``, pairs of path and label."""
        self.samples, self.classes = samples, classes
        self.train, self.images, self.seed = train, images, seed

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.samples)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        """Return image (3, size, size) and label of ``key`` = (epoch, index)."""
        epoch, index = key
        path, label = self.samples[index]
        with Image.open(path) as file:
            image = file.convert("RGB")
        if self.train:
            random = generator(self.seed, epoch, index)
            return to_tensor(training_view(image, self.images, random)), label
        return to_tensor(evaluation_view(image, self.images)), label


def training_view(
    image: Image.Image, images: Images, random: np.random.Generator
) -> Image.Image:
    """Return a random crop of ``image``, resized and perhaps flipped."""
    box = random_box(image.width, image.height, images.min_area, random)
    size = (images.size, images.size)
    view = image.resize(size, Image.Resampling.BICUBIC, box=box)
    if images.flip and random.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return view


def random_box(
    width: int, height: int, min_area: float, random: np.random.Generator
) -> Box:
    """Return the box to cut: area in [min_area, 1] of the image, or the centre."""
    for _ in range(ATTEMPTS):
        area = random.uniform(min_area, 1.0) * width * height
        aspect = random.uniform(3 / 4, 4 / 3)
        wide, high = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if random.random() < 0.5:
            wide, high = high, wide
        if 0 < wide <= width and 0 < high <= height:
            left = int(random.integers(width - wide + 1))
            top = int(random.integers(height - high + 1))
            return left, top, left + wide, top + high
    return centre_box(width, height, min(width, height))


def centre_box(width: int, height: int, side: int) -> Box:
    """Return the square of ``side`` pixels in the middle."""
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def evaluation_view(image: Image.Image, images: Images) -> Image.Image:
    """Return the centre of ``image`` after its short side became ``images.resize``."""
    scale = images.resize / min(image.width, image.height)
    size = (round(image.width * scale), round(image.height * scale))
    image = image.resize(size, Image.Resampling.BICUBIC)
    return image.crop(centre_box(image.width, image.height, images.size))


def to_tensor(image: Image.Image) -> Tensor:
    """Return ``image`` as float32 (3, height, width), normalised."""
    pixels = np.asarray(image, dtype=np.float32) / 255
    pixels = (pixels - np.float32(MEAN)) / np.float32(DEVIATION)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
