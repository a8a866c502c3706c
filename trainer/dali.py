"""Batches decoded by NVIDIA DALI, of the images, boxes and flips that samplers ask for.

DALI's own reader shuffles and shards in its own way; here it is given the bytes of each
image and the box to decode, drawn as `trainer.images.view` draws it, so an epoch is the
same with and without DALI, but for rounding: at most one of 255 levels.  It decodes on
the host, by threads: there are no loading processes.

Colour jitter and lighting, and skipping what cannot be read, are not done here.
"""

from collections.abc import Iterator
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collectives import InvalidArgument
from trainer import packages
from trainer.data.imagefolder import ImageFolder
from trainer.dataset import UnreadableImage
from trainer.images import colour, view
from trainer.images.decode import Encoded
from trainer.place import Batch, Place
from trainer.sampler import Key, Sampler, TestSampler, generator

PREFETCH = 2  # batches


def load(
    dataset: ImageFolder,
    sampler: Sampler | TestSampler,
    *,
    threads: int,
    place: Place,
) -> "Dali":
    """Return an iterable of (images, labels), as `trainer.loader.load` does.

    Raises:
        InvalidArgument: DALI is not installed, or cannot do what the settings ask for.
    """
    check(dataset)
    return Dali(dataset, sampler, threads, place)


def check(dataset: ImageFolder) -> None:
    """Refuse what DALI cannot do, before it is begun.

    Raises:
        InvalidArgument: saying what to change.
    """
    try:
        import nvidia.dali  # noqa: F401
    except ImportError as error:
        problem = packages.absent("nvidia-dali", "dali")
        raise InvalidArgument(f"--loader dali: {problem}") from error
    if not isinstance(dataset, ImageFolder):
        raise InvalidArgument(
            "--loader dali: it reads image files only; use --data imagefolder"
        )
    images = dataset.images
    if images.jitter or images.lighting or dataset.unreadable is not None:
        raise InvalidArgument(
            "--loader dali: it cannot change colours or skip unreadable images here; "
            "use --images.jitter 0 --images.lighting 0 and --data-errors refuse"
        )


class Dali:
    """Batches that a pipeline of DALI decodes, resizes and normalises."""

    def __init__(
        self,
        dataset: ImageFolder,
        sampler: Sampler | TestSampler,
        threads: int,
        place: Place,
    ):
        """Load by ``threads`` threads of this process."""
        self.dataset, self.sampler = dataset, sampler
        self.threads, self.place = threads, place

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches left in the sampler's epoch."""
        return self.place.put_ahead(self.batches())

    def batches(self) -> Iterator[Batch]:
        """Yield the batches on the host.

        Raises:
            UnreadableImage: naming the file, or those of a batch.
        """
        every = [keys for keys in self.sampler]
        if not every:
            return
        feed = (self.samples(keys) for keys in every)
        pipe = pipeline(self.dataset, feed, max(map(len, every)), self.threads)
        for keys in every:
            try:
                images = pipe.run()[0].as_array()
            except RuntimeError as error:
                raise self.unreadable(keys, error) from error
            labels = [self.dataset.index.label(index) for _, index in keys]
            yield torch.from_numpy(images.copy()), torch.tensor(labels)

    def samples(self, keys: list[Key]) -> tuple[list[np.ndarray], ...]:
        """Return a list for each input of the pipeline."""
        found = [self.sample(*key) for key in keys]
        return tuple(list(column) for column in zip(*found, strict=True))

    def sample(self, epoch: int, index: int) -> tuple[np.ndarray, ...]:
        """Return what DALI needs of one image."""
        dataset = self.dataset
        path = dataset.index.path(index)
        try:
            data = Path(path).read_bytes()
            image = Encoded(data, dataset.decoder)
        except OSError as error:
            raise UnreadableImage(f"dali: {path} cannot be read: {error}") from error
        if dataset.train:
            random = generator(dataset.seed, epoch, index)
            size = dataset.size(epoch)
            seen = view.training(image, size, dataset.images, random)
        else:
            seen = view.test(image, dataset.images)
        left, top, right, bottom = seen.box
        across, down = floor(left), floor(top)  # decoded from here, by whole pixels
        numbers = (
            (across, down),
            (ceil(right) - across, ceil(bottom) - down),
            (top - down, left - across),
            (bottom - down, right - across),
            (seen.size, seen.size),
        )
        return (
            np.frombuffer(data, np.uint8),
            *(np.array(pair, np.float32) for pair in numbers),
            np.array(seen.flip, np.int32),
        )

    def unreadable(self, keys: list[Key], error: Exception) -> UnreadableImage:
        """Return the error of a batch: DALI does not say which image it means."""
        first, last = (self.dataset.index.path(keys[i][1]) for i in (0, -1))
        said = str(error).strip().splitlines()[0]
        return UnreadableImage(
            f"dali: an image of the batch {first} ... {last} cannot be read: {said}; "
            "`python -m trainer.data check` lists such files"
        )


def pipeline(dataset: ImageFolder, feed: Iterator[Any], most: int, threads: int) -> Any:
    """Return a pipeline of ``feed``, batches of at most ``most`` images."""
    from nvidia.dali import fn, pipeline_def, types

    filters = {"bicubic": types.INTERP_CUBIC, "bilinear": types.INTERP_LINEAR}
    mean, deviation = (
        [255 * value for value in part]
        for part in colour.CONSTANTS[dataset.images.normalise]
    )

    @pipeline_def(
        batch_size=most,
        num_threads=threads,
        device_id=None,
        prefetch_queue_depth=PREFETCH,
    )
    def make() -> Any:
        data, corner, extent, start, end, size, flip = fn.external_source(
            source=feed, num_outputs=7, batch=True
        )
        pixels = fn.decoders.image_slice(
            data,
            corner,
            extent,
            axis_names="WH",
            normalized_anchor=False,
            normalized_shape=False,
            output_type=types.RGB,
        )
        square = fn.resize(
            pixels,
            roi_start=start,
            roi_end=end,
            size=size,
            interp_type=filters[dataset.images.filter],
        )
        return fn.crop_mirror_normalize(
            square, mirror=flip, mean=mean, std=deviation, dtype=types.FLOAT
        )

    pipe = make()
    pipe.build()
    return pipe
