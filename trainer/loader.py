"""Batches of a data set, on the device of the rank, as the samplers ask for them.

Processes that load begin from a clean process, not as a copy of one that MPI runs in.
They end with the loader, and with their rank, however it ends.
"""

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import forkserver, parent_process
from threading import Thread
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from trainer.dataset import Dataset, UnreadableImage
from trainer.interrupt import ignore, shield
from trainer.place import Batch, Place
from trainer.sampler import Key, Sampler, TestSampler


def load(
    dataset: Dataset, sampler: Sampler | TestSampler, *, workers: int, place: Place
) -> Iterable[Batch]:
    """Return an iterable of (images, labels): (n, 3, size, size) and (n,).

    ``workers`` processes make the images, if any are to be made.
    """
    pool = getattr(dataset, "pool", None)
    if pool is not None:
        return Resident(dataset, sampler, place)
    return Loaded(dataset, sampler, workers, place)


class Resident:
    """Batches of a data set that lies on the device: nothing but indices is copied."""

    def __init__(self, dataset: Any, sampler: Sampler | TestSampler, place: Place):
        """Put images (N, 3, size, size) and labels (N,) there; image i is i mod N."""
        self.images, self.labels = place.put(*dataset.pool)
        self.size, self.sampler, self.place = dataset.size, sampler, place

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches left in the sampler's epoch."""
        for keys in self.sampler:
            rows = torch.tensor([index % len(self.images) for _, index in keys])
            rows, size = self.place.index(rows), self.size(keys[0][0])
            corners = self.images[..., :size, :size]
            yield self.place.put(corners[rows], self.labels[rows])


class Loaded:
    """Batches that a `DataLoader` makes on the host, copied while others are used."""

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler | TestSampler,
        workers: int,
        place: Place,
    ):
        """Load by ``workers`` processes, or by this one if 0.

        The loader's own random generator keeps torch's global one untouched.
        """
        if workers:
            with shield():  # what the server forks ignores the signals as it does
                forkserver.ensure_running()
        self.place = place
        self.batches: DataLoader[Any] = DataLoader(
            Answers(dataset),  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            # fork() after MPI has started can crash; forkserver begins from a clean
            # process
            multiprocessing_context="forkserver" if workers else None,
            persistent_workers=workers > 0,
            worker_init_fn=begin,
            pin_memory=place.on_gpu,
            generator=torch.Generator().manual_seed(0),
        )
        # Holds the queues until the processes have ended.  Found by the garbage
        # collector after an exception, they would be closed first, and no process told.
        self.close = weakref.finalize(self, end, self.batches)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches left in the sampler's epoch.

        Raises:
            UnreadableImage: as the data set does, whichever process has met it.
        """
        return self.place.put_ahead(map(read, self.batches))


class Answers:
    """A data set that answers with a batch, or with what is wrong with an image of it.

    Raised in a loading process that would arrive as the text of a traceback.
    """

    def __init__(self, dataset: Dataset):
        """Hold the data set."""
        self.dataset = dataset

    def __getitems__(self, keys: Sequence[Key]) -> Any:
        """Return the images and labels of ``keys``, or an UnreadableImage."""
        try:
            return [self.dataset[key] for key in keys]
        except UnreadableImage as error:
            return error


def collate(answer: Any) -> Any:
    """Return the batch of a list of images and labels; an error as it is."""
    return answer if isinstance(answer, UnreadableImage) else default_collate(answer)


def read(answer: Any) -> Batch:
    """Return a batch, in the process that asked for it.

    Raises:
        UnreadableImage: the answer is one.
    """
    if isinstance(answer, UnreadableImage):
        raise answer
    batch: Batch = answer
    return batch


def begin(worker: int) -> None:
    """Make a loading process deaf to signals, and have it end with its rank.

    Its parent by the system's account is the forkserver, which does not end before it.
    """
    ignore(worker)
    Thread(target=follow_parent, daemon=True).start()


def follow_parent() -> None:
    """Wait until the process that loads is gone, even if it was killed; then end."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def end(batches: DataLoader[Any]) -> None:
    """End the processes of a loader; torch has no public way to."""
    if batches._iterator is not None:
        batches._iterator._shutdown_workers()  # type: ignore[attr-defined]
