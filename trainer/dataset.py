"""Data sets: find them by name.

A data set is one file in ``trainer/data/``; the file name is its name.  It defines

* ``CHANGES``: the recipe's fields that it changes, as ``{"images.size": 32}``;
* ``NEEDS_ROOT``: whether it reads a directory (``--data-dir``);
* ``IMAGES``: the recipe's ``images`` that mean something to it;
* ``count(root)``: its number of training images, found without reading any; of root
  None, that of the data set that a plan assumes;
* ``load(root, *, train, images, classes, seed, sizes)``: a `Dataset`, which is asked
  for (epoch, index) and must answer with the same bits in any process.  ``sizes`` are
  those of the training images, epoch by epoch (`trainer.resizing`).  A data set of few
  images may offer them all as ``pool``, which `trainer.loader` keeps on the device, and
  cuts to ``size(epoch)`` pixels.

One that reads files takes ``errors`` in ``load``, too, one of `ERRORS`.  It raises
`UnreadableImage` with a text for users, or skips.  It has ``problem(index)``, what is
wrong with an image or None, and ``unreadable``: None, or where errors are skipped a
byte per image, 1 of what was met and could not be read.

Worker processes import these files: nothing here may import mpi4py, because a worker
that does joins the job a second time as the same rank.
"""

import importlib
from types import ModuleType
from typing import Any, Protocol

from torch import Tensor

from collectives import InvalidArgument
from trainer import packages
from trainer.sampler import Key

ERRORS = ("refuse", "skip")  # what to do with images that cannot be read


class UnreadableImage(OSError):
    """A file that is no image, or a damaged one."""


class Dataset(Protocol):
    """Images of 3 * size * size float32, and labels from 0 to classes - 1."""

    classes: int

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        """Return image and label of ``key`` = (epoch, index)."""


def names() -> list[str]:
    """Return the names of all data sets: the files of ``trainer/data/``."""
    from trainer import data

    return packages.modules(data)


def find(name: str) -> ModuleType:
    """Return the module of this data set.

    Raises:
        InvalidArgument: no file of ``trainer/data/`` has this name, or a package that
            it needs is missing.
    """
    if name not in names():
        raise InvalidArgument(
            f"--data: got {name!r}, expected one of {', '.join(names())}"
        )
    try:
        return importlib.import_module(f"trainer.data.{name}")
    except ModuleNotFoundError as error:
        problem = packages.cure(error, str(error.name))
        raise InvalidArgument(f"--data {name}: {problem}") from error


def check_root(name: str, root: str | None) -> None:
    """Refuse a directory where none is read, and none where one is.

    Raises:
        InvalidArgument: saying which flag to add or to leave out.
    """
    needs_root = find(name).NEEDS_ROOT
    if needs_root and root is None:
        raise InvalidArgument(
            f"--data {name}: give the directory of the images, --data-dir DIRECTORY"
        )
    if root is not None and not needs_root:
        raise InvalidArgument(
            f"--data {name} reads no directory; leave out --data-dir {root}"
        )


def skipped(dataset: Any, comm: Any) -> list[str]:
    """Return the files that the ranks have met so far and could not read.

    Collective over ``comm``; the same on all ranks, whoever has met them.
    """
    if getattr(dataset, "unreadable", None) is None:
        return []
    met = comm.allreduce(dataset.unreadable.numpy().copy(), op="max")
    return [dataset.index.path(int(chosen)) for chosen in met.nonzero()[0]]
