"""Real image files for tests, of few pixels and of many kinds."""

import io

import numpy as np
from PIL import Image


def picture(width, height, *, seed=0):
    """Return smooth random colours, such as a JPEG can hold: uint8 (h, w, 3)."""
    random = np.random.default_rng(seed)
    coarse = random.integers(256, size=(4, 5, 3), dtype=np.uint8)
    resized = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def encode(pixels, form="JPEG", **options):
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, form, **options)
    return file.getvalue()


def write_folder(root, counts, *, classes=("cat", "dog", "emu")):
    """Write ``counts[part]`` JPEGs of several sizes for each class; return root."""
    for part, per_class in counts.items():
        for label, name in enumerate(classes):
            directory = root / part / name
            directory.mkdir(parents=True)
            for number in range(per_class):
                seed = label + 10 * number + 1000 * (part == "val")
                pixels = picture(60 + 8 * number, 44 + 20 * label, seed=seed)
                data = encode(pixels, quality=95)
                (directory / f"{number}.jpg").write_bytes(data)
    return root
