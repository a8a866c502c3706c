"""Glyphs: 20 classes of procedural grey pictures of 24x24, each a pure function.

A class is a poly-stroke, a line through random points.  Picture i shows it turned,
scaled, sheared and shifted, with another contrast and level, a bar across, and Gaussian
noise.  All random numbers of picture i come from Philox with the key (seed, 0) and the
counter i, so any process makes any part of the data, alike; its class is i modulo 20.
"""

from typing import NamedTuple

import numpy as np

from trainer.sampler import generator

CLASSES = 20
SIDE = 24  # pixels
PIXELS = SIDE * SIDE
POINTS = 5  # of a stroke
TABLE = 96  # cells a side of a drawn prototype, over [-1, 1]
STROKE, EDGE = 0.08, 0.08  # half width, and width of the soft edge; 1 is 12 pixels
TURN, SHEAR, SHIFT = np.deg2rad(25), 0.2, 3 / 12
SCALE = (0.7, 1.3)
CONTRAST, LEVEL = (0.5, 1.0), 0.2  # what the stroke adds; how far the ground may go
BAR = 1 / 12  # half width
CHUNK = 1000  # pictures made at a time
PROTOTYPES = 1  # second word of their keys; that of pictures is 0


class Glyphs(NamedTuple):
    """Pictures, float32 of shape ``(count, 576)``, and their classes."""

    images: np.ndarray
    labels: np.ndarray


def prototypes(seed: int) -> np.ndarray:
    """Return the drawn strokes, float32 of shape ``(20, 96 * 96)``, from 0 to 1."""
    ticks = (np.arange(TABLE) + 0.5) / TABLE * 2 - 1
    cells = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    drawn = np.empty((CLASSES, TABLE * TABLE), np.float32)
    for label in range(CLASSES):
        points = generator(seed, PROTOTYPES, label).uniform(-0.75, 0.75, (POINTS, 2))
        pairs = zip(points, points[1:], strict=False)
        near = np.min([distance(cells, *pair) for pair in pairs], axis=0)
        drawn[label] = np.clip(1 - (near - STROKE) / EDGE, 0, 1)
    return drawn


def distance(cells: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return how far each cell is from the segment."""
    along = stop - start
    part = np.clip((cells - start) @ along / (along @ along), 0, 1)
    return np.linalg.norm(cells - start - part[:, None] * along, axis=1)


def make(start: int, stop: int, *, seed: int, noise: float) -> Glyphs:
    """Return pictures ``start`` to ``stop - 1``; ``noise`` is a standard deviation."""
    drawn = prototypes(seed)
    images = np.empty((stop - start, PIXELS), np.float32)
    for first in range(start, stop, CHUNK):
        last = min(first + CHUNK, stop)
        images[first - start : last - start] = draw(drawn, first, last, seed, noise)
    return Glyphs(images, np.arange(start, stop) % CLASSES)


def draw(
    drawn: np.ndarray, start: int, stop: int, seed: int, noise: float
) -> np.ndarray:
    """Return a chunk of pictures."""
    count = stop - start
    chance = np.empty((count, 10), np.float32)
    pictures = np.empty((count, PIXELS), np.float32)
    for i in range(count):
        random = generator(seed, 0, start + i)
        random.random(dtype=np.float32, out=chance[i])
        random.standard_normal(dtype=np.float32, out=pictures[i])
    pictures *= np.float32(noise)
    ticks = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1).astype(np.float32)
    x, y = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
    column, row = (
        ((place + 1) * (TABLE / 2)).astype(np.int32) for place in undo(chance, x, y)
    )
    inside = (column >= 0) & (column < TABLE) & (row >= 0) & (row < TABLE)
    which = np.where(inside, row * TABLE + column, 0)
    labels = np.arange(start, stop) % CLASSES
    strokes = drawn[labels[:, None], which] * inside
    contrast = CONTRAST[0] + (CONTRAST[1] - CONTRAST[0]) * chance[:, 5:6]
    clean = contrast * strokes + LEVEL * (2 * chance[:, 6:7] - 1)
    angle, offset = np.pi * chance[:, 7:8], 2 * chance[:, 8:9] - 1
    bar = np.abs(np.cos(angle) * x + np.sin(angle) * y - offset) < BAR
    pictures += np.where(bar, chance[:, 9:10], clean)
    return pictures


def undo(
    chance: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel lies in its prototype: the affine map's inverse."""
    turn = TURN * (2 * chance[:, 0:1] - 1)
    scale = SCALE[0] + (SCALE[1] - SCALE[0]) * chance[:, 1:2]
    shear = SHEAR * (2 * chance[:, 2:3] - 1)
    x = x - SHIFT * (2 * chance[:, 3:4] - 1)
    y = y - SHIFT * (2 * chance[:, 4:5] - 1)
    cosine, sine = np.cos(turn) / scale, np.sin(turn) / scale
    u, v = cosine * x + sine * y, cosine * y - sine * x
    return u - shear * v, v
