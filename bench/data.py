"""Input benchmark: how many images a second a rank can read, decode, cut and colour.

    python -m bench.data --workers 0,1,2 --sizes 224,128 --json data.json

Images like ImageNet's are made first.  Every combination of decoder, scaled decoding,
augmentation and size takes its turn in the same loading processes; a turn is all
images once, and a rate the median over rounds.  Needs no MPI.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from collectives import InvalidArgument

from . import files, meta
from .data_options import DECODERS, NAME, RESIZE, Options, parse

AUGMENTATIONS: dict[str, dict[str, Any]] = {  # what is changed in the recipe's images
    "none": {"crop": "none", "flip": False},
    "crop": {"crop": "area"},
    "colour": {"crop": "area", "jitter": 0.4, "lighting": 0.1},
}


@dataclass(frozen=True)
class Case:
    """One way to make images."""

    size: int
    augmentation: str
    decoder: str
    scaled: bool


@dataclass(frozen=True)
class DataRow(Case):
    """What was measured; ``ratio`` is to Pillow's whole images, otherwise the same."""

    workers: int
    images_per_s: float
    ratio: float | None


def cases(options: Options) -> list[Case]:
    """Return all combinations."""
    ways = product(options.sizes, AUGMENTATIONS, options.decoders, (False, True))
    return [Case(*way) for way in ways]


def make_images(root: Path, count: int) -> None:
    """Write JPEGs of 500x375 pixels, quality 90: smooth shapes with some noise."""
    import numpy as np
    from PIL import Image

    for part in ("train", "val"):
        (root / part / "shapes").mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng(number)
        coarse = random.integers(256, size=(9, 12, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        noise = random.integers(-16, 17, size=(375, 500, 1))
        pixels = (np.asarray(smooth) + noise).clip(0, 255).astype(np.uint8)
        path = root / "train" / "shapes" / f"{number:05}.jpg"
        Image.fromarray(pixels).save(path, quality=90)


class Turns:
    """All cases as one data set: epoch e is case e modulo their number."""

    classes = 1

    def __init__(self, root: Path, chosen: Sequence[Case]):
        """Find the images for each case."""
        from trainer.data import imagefolder
        from trainer.fields import Images

        self.cases = [
            imagefolder.load(
                str(root),
                train=True,
                images=replace(
                    Images(size=case.size, resize=RESIZE),
                    **AUGMENTATIONS[case.augmentation],
                ),
                classes=1,
                seed=1,
                decoder=case.decoder,
                scaled=case.scaled,
            )
            for case in chosen
        ]

    def __len__(self) -> int:
        """Return the number of images of each case."""
        return len(self.cases[0])

    def __getitem__(self, key: tuple[int, int]) -> Any:
        """Return the image of the case whose turn it is."""
        turn, which = divmod(key[0], len(self.cases))
        return self.cases[which][turn, key[1]]


def measure(options: Options, root: Path, workers: int) -> list[float]:
    """Return the images per second of each case."""
    from trainer import loader
    from trainer.place import Place
    from trainer.sampler import Sampler

    chosen = cases(options)
    sampler = Sampler(options.images, rank=0, size=1, per_worker=options.batch, seed=1)
    turns = Turns(root, chosen)
    batches = loader.load(turns, sampler, workers=workers, place=Place())
    seconds: list[list[float]] = [[] for _ in chosen]
    for epoch in range((options.rounds + 1) * len(chosen)):
        sampler.start(epoch=epoch)
        begin = perf_counter()
        for _ in batches:
            pass
        seconds[epoch % len(chosen)].append(perf_counter() - begin)
    return [sampler.usable / median(taken[1:]) for taken in seconds]


def run(options: Options) -> list[DataRow]:
    """Measure all cases with each number of loading processes."""
    rows = []
    with TemporaryDirectory() as folder:
        make_images(Path(folder), options.images)
        for workers in options.workers:
            rates = dict(
                zip(
                    cases(options), measure(options, Path(folder), workers), strict=True
                )
            )
            for case, rate in rates.items():
                plain = rates.get(replace(case, decoder="pillow", scaled=False))
                ratio = rate / plain if plain else None
                rows.append(DataRow(**vars(case), workers=workers, images_per_s=rate,
                                    ratio=ratio))  # fmt: skip
    return rows


def table(about: dict[str, Any], rows: list[DataRow]) -> str:
    """Return the text to show."""
    head = f"# {about['hardware']['cpu']}, {about['hardware']['cores']} cores; images/s"
    names = "workers  size  augmentation  decoder     scaled  images/s  ratio"
    lines = [
        f"{row.workers:7}{row.size:6}  {row.augmentation:14}{row.decoder:12}"
        f"{'yes' if row.scaled else 'no':6}{row.images_per_s:10.1f}"
        + (f"{row.ratio:7.2f}" if row.ratio else "      -")
        for row in rows
    ]
    return "\n".join([head, names, *lines])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, or 2 if it cannot be obeyed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(arguments)
    except InvalidArgument as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 2
    rows = run(options)
    command = [*NAME.split(), *arguments]
    about = meta.describe(options, "1 rank", {}, command, mpi=False)
    about["time"] = "median over rounds of the time of all images, after an untimed one"
    about["versions"] |= {name: meta.installed(name) for name in DECODERS}
    print(table(about, rows))
    if options.json:
        files.write_json(options.json, about, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
