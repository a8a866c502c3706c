"""Layers of the network on paper: parameters, multiply-adds, and the backward pass.

The backward pass makes a layer's multiply-adds twice, for the gradients of its input
and of its weights; the stem's only once, as nobody asks for the gradients of pixels.  A
`Processor` needs for a layer the longer of two times, of its arithmetic and of its
memory (a roofline): a normalisation with its ReLU moves its output six times, another
layer its output four times (the stem twice) and its weights three times.

Nothing here needs torch.  Blurring before a stride is not counted.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from trainer.fields import Model

EXPANSION = 4  # channels out of a bottleneck, in widths


class Layer(NamedTuple):
    """A layer with parameters."""

    kind: str  # conv, norm or fc
    tensors: tuple[int, ...]  # elements of each
    macs: int  # multiply-adds of an image, forward
    outputs: int  # elements of an image


class Parameters(NamedTuple):
    """Parameters of a network by kind of layer."""

    conv: int
    norm: int
    fc: int

    @property
    def total(self) -> int:
        """All of them.

        >>> parameters(Model())
        Parameters(conv=23454912, norm=53120, fc=2049000)
        >>> parameters(Model()).total
        25557032
        """
        return sum(self)


class Processor(NamedTuple):
    """What networks get from a processor; not its peak."""

    flops: float  # operations a second, two for a multiply-add
    bandwidth: float  # bytes of memory a second
    itemsize: int  # bytes of an element

    def seconds(self, operations: float, elements: float) -> float:
        """Return the longer of two times: of the arithmetic, and of the memory."""
        moved = elements * self.itemsize
        return max(operations / self.flops, moved / self.bandwidth)


PROCESSORS = {
    "": Processor(1.0, math.inf, 1),  # which has nothing but arithmetic to do
    "p100": Processor(7.5e12, 500e9, 4),
    "v100": Processor(45e12, 700e9, 2),
}


def layers(model: Model, size: int = 224) -> Iterator[Layer]:
    """Yield the layers in the network's order, for images of ``size`` pixels a side."""
    side = _half(size)
    yield _conv(3, model.width, kernel=7, side=side)
    yield _norm(model.width, side)
    side, channels = _half(side), model.width
    for stage, blocks in enumerate(model.blocks):
        width = model.width << stage
        out = EXPANSION * width
        for block in range(blocks):
            after = _half(side) if stage and block == 0 else side
            middle = after if model.stride == "v1" else side
            yield _conv(channels, width, kernel=1, side=middle)
            yield _norm(width, middle)
            yield _conv(width, width, kernel=3, side=after)
            yield _norm(width, after)
            yield _conv(width, out, kernel=1, side=after)
            yield _norm(out, after)
            if block == 0:  # the projection shortcut
                yield _conv(channels, out, kernel=1, side=after)
                yield _norm(out, after)
            channels, side = out, after
    weights = channels * model.classes
    yield Layer("fc", (weights, model.classes), weights, model.classes)


def parameters(model: Model) -> Parameters:
    """Count the parameters of a bottleneck ResNet."""
    counts = dict.fromkeys(Parameters._fields, 0)
    for layer in layers(model):
        counts[layer.kind] += sum(layer.tensors)
    return Parameters(**counts)


def arrivals(model: Model) -> list[int]:
    """Return the parameters of each tensor, in the order of the backward pass."""
    return [count for layer in layers(model) for count in layer.tensors][::-1]


def backward_s(
    model: Model, processor: Processor, *, images: int = 32, size: int = 224
) -> list[float]:
    """Return the seconds of the backward pass in each layer, the last layer first."""
    stem, *others = layers(model, size)
    found = [_seconds(layer, processor, images) for layer in others[::-1]]
    return [*found, _seconds(stem, processor, images, gradients=1)]


def ready(
    model: Model, processor: Processor, *, images: int = 32, size: int = 224
) -> list[float]:
    """Return the part of the backward pass after which each gradient is there.

    In the order of `arrivals`; the last is 1.
    """
    times = backward_s(model, processor, images=images, size=size)
    total, passed, parts = sum(times), 0.0, []
    for layer, seconds in zip([*layers(model)][::-1], times, strict=True):
        passed += seconds
        parts += [passed / total] * len(layer.tensors)
    return [min(part, 1.0) for part in parts]


def _half(side: int) -> int:
    return (side + 1) // 2


def _conv(channels: int, out: int, *, kernel: int, side: int) -> Layer:
    weights = channels * out * kernel**2
    return Layer("conv", (weights,), weights * side**2, out * side**2)


def _norm(channels: int, side: int) -> Layer:
    return Layer("norm", (channels, channels), 0, channels * side**2)


def _seconds(
    layer: Layer, processor: Processor, images: int, *, gradients: int = 2
) -> float:
    """Return the seconds of a layer whose backward pass makes so many gradients."""
    moved = images * layer.outputs
    if layer.kind == "norm":
        return processor.seconds(0, 6 * moved)
    elements = 2 * gradients * moved + 3 * sum(layer.tensors)
    return processor.seconds(2 * gradients * images * layer.macs, elements)
