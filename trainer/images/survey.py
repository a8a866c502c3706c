"""Survey: what is in a directory of images, and what is wrong with it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer.images import decode, index

PARTS = ("train", "val")
MIB = 1 << 20


class Survey(NamedTuple):
    """Lines that describe the parts, and what would stop or spoil a training."""

    parts: list[str]
    problems: list[str]

    def lines(self) -> list[str]:
        """Return the text to show."""
        return [*self.parts, *(self.problems or ["all is well"])]


def look(root: str, *, decoding: bool) -> Survey:
    """List both parts anew, not from the cache, and decode all images.

    Raises:
        InvalidArgument: a directory cannot be read.
    """
    lines, problems, classes = [], [], {}
    for part in PARTS:
        directory = Path(root) / part
        classes[part] = list(index.class_directories(directory))
        rows = index.list_images(directory, classes[part])
        found = index.Index(str(directory), classes[part], rows, None)
        lines.append(describe(part, found))
        problems += empty_classes(part, found)
        problems += unreadable_files(found) if decoding else empty_files(found)
    for here, there in (PARTS, PARTS[::-1]):
        for name in sorted(set(classes[here]) - set(classes[there])):
            problems.append(f"class {name} is in {here} but not in {there}")
    return Survey(lines, problems)


def describe(part: str, found: index.Index) -> str:
    """Return images, classes and bytes of a part in one line."""
    counts = per_class(found)
    return (
        f"{part}: {len(found):,} images, {len(found.classes):,} classes of "
        f"{min(counts, default=0):,} to {max(counts, default=0):,}, "
        f"{found.rows['size'].sum() / MIB:,.1f} MiB"
    )


def per_class(found: index.Index) -> list[int]:
    """Return the number of images of each class."""
    counts = np.bincount(found.rows["label"], minlength=len(found.classes))
    return [int(count) for count in counts]


def empty_classes(part: str, found: index.Index) -> list[str]:
    """Name the classes without images."""
    counts = zip(found.classes, per_class(found), strict=True)
    return [
        f"class {name} has no image in {part}" for name, count in counts if not count
    ]


def empty_files(found: index.Index) -> list[str]:
    """Name the files without content."""
    return [f"{path}: 0 bytes" for path in found.empty()]


def unreadable_files(found: index.Index) -> list[str]:
    """Name the files that cannot be decoded, and say why."""
    decoder = decode.fastest()
    seen = (decode.problem(found.path(i), decoder) for i in range(len(found)))
    return [problem for problem in seen if problem is not None]
