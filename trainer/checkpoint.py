"""Checkpoints: atomic files from which a run continues with the same bits.

``OUTPUT/checkpoint-EPOCH-SAMPLES.pt`` holds one dictionary that ``torch.load`` reads
with ``weights_only=True``:

    schema     2
    model      ``state_dict``, torchvision's names; buffers of some worker
    buffers    (groups, m): running averages of each group of workers that normalise
               together, a worker where none do; one row if all agree
    ema        model and buffers of the averaged weights, if there are any
    optimizer  ``state_dict``
    scaler     the loss scale, its history, and the updates skipped so far
    order      names of the parameters in the order of the gradient buckets
    position   epoch, samples_seen, step
    top1       {epochs: percent}, of the evaluation after each epoch
    rng        torch's random state
    ranks      number of ranks
    config     {dotted field: value} of the recipe, and the run's seed and data

Rank 0 writes to a temporary name, flushes to the disk and renames, so a file with the
final name is complete; ``OUTPUT/latest`` names the last one.
"""

import os
from itertools import count
from pathlib import Path
from typing import Any

import torch

from collectives import InvalidArgument
from trainer import adapter, recipe

SCHEMA = 2
LATEST = "latest"
FIXED = ("model.", "optimizer.", "lars.", "rmsprop.", "bn.", "seed", "data")
FREE = (
    "optimizer.lr",
    "optimizer.momentum",
    "bn.evaluate",
    "bn.recompute_batches",
)


def path_of(output: str, position: dict[str, int]) -> Path:
    """Return the file of the checkpoint at this position."""
    epoch, seen = position["epoch"], position["samples_seen"]
    return Path(output) / f"checkpoint-{epoch:04d}-{seen:08d}.pt"


def write(path: Path, content: dict[str, Any], *, keep: int) -> None:
    """Store ``content``, point ``latest`` to it, and keep the newest ``keep``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, lambda file: torch.save({"schema": SCHEMA, **content}, file))
    name = path.name.encode()
    _replace(path.with_name(LATEST), lambda file: file.write(name))
    stored = sorted(path.parent.glob("checkpoint-*.pt"), key=os.path.getmtime)
    for old in stored[:-keep]:
        if old != path:
            old.unlink()


def set_aside(output: str) -> Path | None:
    """Move what an earlier run left in ``output`` to a folder there, and return it.

    So nothing is lost, and no run resumes from another's checkpoints by accident.
    """
    folder = Path(output)
    left = [folder / name for name in ("metrics.jsonl", "config.yaml", LATEST)]
    left = [path for path in left if path.exists()]
    left += folder.glob("checkpoint-*.pt")
    left += folder.glob(adapter.FOLDER)
    if not left:
        return None
    names = (folder / f"earlier-{n}" for n in count(1))
    place = next(path for path in names if not path.exists())
    place.mkdir()
    for path in left:
        path.rename(place / path.name)
    return place


def find(output: str, resume: str) -> Path | None:
    """Return the file to resume from; None where "auto" finds no checkpoint.

    Raises:
        InvalidArgument: ``resume`` is neither "auto" nor an existing checkpoint.
    """
    if resume == "auto":
        return locate(output)
    return existing(resume, flag="--resume: ", other=", auto")


def existing(place: str, *, flag: str = "", other: str = "") -> Path:
    """Return the file that `locate` finds.

    Raises:
        InvalidArgument: it finds none; the message begins with ``flag``, which may
            have ``other`` values.
    """
    found = locate(place)
    if found is None:
        raise InvalidArgument(
            f"{flag}no checkpoint at {place}; expected a checkpoint-*.pt{other}, or "
            "the output directory of a run"
        )
    return found


def locate(place: str) -> Path | None:
    """Return the file at ``place``, or the last one of a run whose output that is.

    Raises:
        InvalidArgument: the last one was deleted.
    """
    path = Path(place)
    if path.is_dir():
        pointer = path / LATEST
        if not pointer.is_file():
            return None
        path = path / pointer.read_text("utf-8").strip()
        if not path.is_file():
            raise InvalidArgument(
                f"{pointer} names {path.name}, which is not there; remove {pointer}, "
                "or name another checkpoint"
            )
    return path if path.is_file() else None


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint.

    Raises:
        InvalidArgument: the file is no checkpoint of this program.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InvalidArgument(
            f"checkpoint {path} cannot be read: it is damaged, or no checkpoint of "
            f"this program ({type(error).__name__}); name another checkpoint-*.pt"
        ) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise InvalidArgument(
            f"checkpoint {path} has schema {schema}, expected {SCHEMA}: another "
            "version of this program wrote it; use that, or start without --resume "
            "or --start-from"
        )
    return content


def check(path: Path, content: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse to continue a run with another model, optimiser, seed or data.

    ``content`` is that of the checkpoint at ``path``.  Rate and momentum may change:
    they are set before each update; so may how batch normalisation is evaluated.

    Raises:
        InvalidArgument: listing the fields that differ, and where the run's own are.
    """
    different = changes(content, config, fixed=True)
    if different:
        kept = path.with_name("config.yaml")
        cure = f"--config {kept}" if kept.is_file() else "its values"
        raise InvalidArgument(
            f"--resume: the checkpoint is of another run: {'; '.join(different)}; "
            f"start without --resume, or instead of these give {cure}"
        )


def changes(
    content: dict[str, Any], config: dict[str, Any], *, fixed: bool
) -> list[str]:
    """Return the settings that differ, of those that are fixed or of the others."""
    stored = content["config"]
    return [
        f"{recipe.flag(path)} {recipe.show(stored.get(path))} there, "
        f"{recipe.show(value)} here"
        for path, value in config.items()
        if is_fixed(path) is fixed and stored.get(path) != value
    ]


def is_fixed(path: str) -> bool:
    """Say whether a setting cannot change in a run: its state depends on it."""
    return path.startswith(FIXED) and path not in FREE


def _replace(path: Path, fill: Any) -> None:
    temporary = path.with_name(f".{path.name}.part")
    with open(temporary, "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
