"""Decode: pixels of an image file, at the size they are needed at.

A JPEG can be decoded at a half, a quarter or an eighth of its size, from fewer
coefficients of its cosine transform (other eighths are possible, but slower than the
whole: libjpeg-turbo has no vector code for them).  simplejpeg does it if it is
installed; what it refuses goes to Pillow, which reads the rest: PNG, CMYK, a JPEG with
harmless damage.

Orientation tags are not followed: ImageNet's training code never has.
"""

import importlib.util
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from collectives import InvalidArgument
from trainer.dataset import UnreadableImage

DECODERS = ("simplejpeg", "pillow")
FACTORS = (8, 4, 2)
SIMPLE_COLOURS = ("YCbCr", "Gray", "RGB")
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,  # Pillow's, of a damaged PNG
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def fastest() -> str:
    """Return the fastest decoder that is installed."""
    return DECODERS[importlib.util.find_spec("simplejpeg") is None]


def check(decoder: str) -> None:
    """Refuse a decoder that there is not.

    Raises:
        InvalidArgument: it is unknown, or not installed.
    """
    if decoder not in DECODERS:
        raise InvalidArgument(
            f"decoder: got {decoder!r}, expected one of {', '.join(DECODERS)}"
        )
    if decoder == "simplejpeg" and fastest() != decoder:
        raise InvalidArgument(
            "decoder simplejpeg: it is not installed; pip install simplejpeg, or use "
            "the decoder pillow"
        )


class Encoded:
    """An image file in memory: its size is known, its pixels not yet."""

    def __init__(self, data: bytes, decoder: str = "pillow"):
        """Read the head of a file.

        Raises:
            UnreadableImage: it is none of an image.
        """
        self.data = data
        self.simple = decoder == "simplejpeg" and data[:2] == b"\xff\xd8"
        if self.simple:
            self.simple = self._read_simple_head()
        if not self.simple:
            try:
                with quiet(), Image.open(io.BytesIO(data)) as image:
                    self.width, self.height = image.size
            except BROKEN as error:
                raise UnreadableImage(reason(error)) from None

    def _read_simple_head(self) -> bool:
        import simplejpeg

        try:
            found = simplejpeg.decode_jpeg_header(self.data)
        except BROKEN:
            return False
        self.height, self.width, colours, _ = found
        return colours in SIMPLE_COLOURS

    def pixels(self, factor: int = 1) -> np.ndarray:
        """Decode to uint8 (height, width, 3), ``factor`` times smaller if possible.

        What is no JPEG has its full size, whatever the factor.

        Raises:
            UnreadableImage: the data is damaged.
        """
        try:
            return self._simple(factor) if self.simple else self._pillow(factor)
        except BROKEN as error:
            if not self.simple:
                raise UnreadableImage(reason(error)) from None
        self.simple = False  # simplejpeg refuses also what can be repaired
        return self.pixels(factor)

    def _simple(self, factor: int) -> np.ndarray:
        import simplejpeg

        height, width = -(-self.height // factor), -(-self.width // factor)
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            self.data, min_height=height, min_width=width
        )
        return pixels

    def _pillow(self, factor: int) -> np.ndarray:
        with quiet(), Image.open(io.BytesIO(self.data)) as image:
            if factor > 1:
                size = (max(1, self.width // factor), max(1, self.height // factor))
                image.draft(None, size)
            if image.mode.startswith("I"):  # 16 bits of grey, which convert() cuts off
                grey = np.asarray(image).clip(0, 65535) >> 8
                return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
            return np.asarray(image.convert("RGB"))


def problem(path: str, decoder: str) -> str | None:
    """Return the path of a file that is no whole image, and why; None if it is one.

    All its data is read, for an eighth of its pixels.
    """
    try:
        Encoded(Path(path).read_bytes(), decoder).pixels(FACTORS[0])
    except UnreadableImage as error:
        return f"{path}: {error}"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what Pillow says of damaged tags, which are not read here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def reason(error: BaseException) -> str:
    """Say what is wrong with a file, without addresses of objects."""
    if isinstance(error, UnidentifiedImageError):
        return "no image of a known format"
    return str(error) or type(error).__name__
