"""Index: which images a directory has, listed once and shared by all who ask.

``PART/CLASS/NAME``: classes are the directories of ``part`` in the order of their
names, images the files in them with a known suffix, in the order of class and name.
Names that begin with a dot are left out.

A listing is kept in the user's cache, as an array that is mapped into memory: the first
process of a node lists, the others wait for it and share its pages.  The name of the
file is a hash of the directory's path, of the names of its classes and of when each was
last changed, so a file that comes, goes or is renamed makes a new listing.  One that
is overwritten in place does not: its size is then that of the old one.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from collectives import InvalidArgument

SUFFIXES = (".jpg", ".jpeg", ".png")
VERSION = 1  # of the cached files
Changed = dict[str, int]  # when each class was last changed, ns; sorted by name


class Index:
    """The images of a directory, as rows of (name, label, size in bytes)."""

    def __init__(
        self, part: str, classes: list[str], rows: np.ndarray, file: str | None
    ):
        """Hold the rows, which lie in ``file`` if they are cached."""
        self.part, self.classes, self.rows, self.file = part, classes, rows, file

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    def path(self, index: int) -> str:
        """Return the path of an image."""
        row = self.rows[index]
        return os.path.join(
            self.part, self.classes[row["label"]], os.fsdecode(row["name"])
        )

    def label(self, index: int) -> int:
        """Return the number of an image's class."""
        return int(self.rows["label"][index])

    def empty(self) -> list[str]:
        """Return the paths of the files of 0 bytes."""
        return [
            self.path(int(index)) for index in np.flatnonzero(self.rows["size"] == 0)
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the rows where another process can map them too."""
        shared = {"rows": None} if self.file is not None else {}
        return self.__dict__ | shared

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the rows again."""
        self.__dict__.update(state)
        if self.file is not None:
            self.rows = np.load(self.file, mmap_mode="r")


def find(part: str | Path) -> Index:
    """Return the index of a directory, from the cache if nothing has changed.

    Where the cache cannot be written, each process makes its own.

    Raises:
        InvalidArgument: the directory, or one in it, cannot be read.
    """
    changed = class_directories(part)
    classes, file = list(changed), cache_file(part, changed)
    rows = read(file)
    try:
        if rows is None:
            with locked(file.parent / "lock"):
                rows = read(file)  # somebody may have been faster
                if rows is None:
                    write(file, list_images(part, classes))
                    rows = read(file)
    except OSError:
        pass
    if rows is None:
        return Index(str(part), classes, list_images(part, classes), None)
    return Index(str(part), classes, rows, str(file))


def class_directories(part: str | Path) -> Changed:
    """Return the names of the classes, sorted, and when each was last changed.

    Raises:
        InvalidArgument: the directory is missing or cannot be read.
    """
    try:
        with os.scandir(part) as entries:
            found = {
                entry.name: entry.stat().st_mtime_ns
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir()
            }
    except OSError as error:
        raise unreadable(part, error) from error
    return dict(sorted(found.items()))


def list_images(part: str | Path, classes: list[str]) -> np.ndarray:
    """Return a row for each image below ``part``.

    Raises:
        InvalidArgument: a class cannot be read.
    """
    found = [
        (name, label, size)
        for label, known in enumerate(classes)
        for name, size in sorted(files(Path(part) / known))
    ]
    longest = max((len(name) for name, _, _ in found), default=1)
    kinds = [("name", f"S{longest}"), ("label", np.int32), ("size", np.int64)]
    return np.array(found, dtype=kinds)


def files(directory: Path) -> Iterator[tuple[bytes, int]]:
    """Yield name and size of each image; 0 for what is no file at all."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                    size = entry.stat().st_size if entry.is_file() else 0
                    yield os.fsencode(name), size
    except OSError as error:
        raise unreadable(directory, error) from error


def unreadable(directory: str | Path, error: OSError) -> InvalidArgument:
    """Return the error of a directory that cannot be listed."""
    return InvalidArgument(
        f"data imagefolder: {directory} cannot be read ({error.strerror}); expected "
        "train/CLASS/NAME.jpg and val/CLASS/NAME.jpg below --data-dir"
    )


def cache_file(part: str | Path, changed: Changed) -> Path:
    """Return where the index of a directory in this state is kept."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # as the XDG base directory specification has it
        cache = os.path.expanduser("~/.cache")
    state = repr((VERSION, SUFFIXES, os.path.realpath(part), changed))
    digest = hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()
    return Path(cache, "collectives", "images", f"{digest[:32]}.npy")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes of the node out, or wait until they are ready."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        with suppress(OSError):  # a file system without locks: all may list at once
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(file: Path) -> np.ndarray | None:
    """Map a cached listing; None if there is none, or only a part of one."""
    try:
        rows = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.dtype.names == ("name", "label", "size") else None


def write(file: Path, rows: np.ndarray) -> None:
    """Write a listing, whole or not at all."""
    partial = file.with_suffix(f".{os.getpid()}.npy")
    try:
        np.save(partial, rows)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
