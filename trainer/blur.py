"""Convolutions that blur before they stride (BlurPool), against aliasing.

The blur is 3x3 and fixed, the outer product of (1, 2, 1) / 4 with itself; beyond the
edge are zeros.  As in libffcv/ffcv-imagenet (train_imagenet.py at 606c584) it is the
input that is blurred, of each strided convolution of 16 input channels or more: not of
the stem, and not of its pooling.  Zhang blurs what such a layer puts out, and pools.

R. Zhang: Making convolutional networks shift-invariant again.  ICML 2019,
arXiv:1904.11486.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_CHANNELS = 16


class BlurredConv2d(nn.Conv2d):
    """A convolution of its blurred input, with the parameters of a plain one."""

    binomial: Tensor

    def __init__(self, channels_in: int, channels_out: int, kernel: int, **rest: Any):
        """Add the blur, which is in no ``state_dict``: it never changes."""
        super().__init__(channels_in, channels_out, kernel, **rest)
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        square = torch.outer(row, row).repeat(channels_in, 1, 1, 1)
        self.register_buffer("binomial", square, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) as the convolution does."""
        blurred = functional.conv2d(
            x, self.binomial, padding=1, groups=self.in_channels
        )
        return super().forward(blurred)


def conv(
    channels_in: int, channels_out: int, kernel: int, *, stride: int, blurpool: bool
) -> nn.Conv2d:
    """Return a convolution without bias, padded to keep the size at stride 1."""
    blurs = blurpool and stride > 1 and channels_in >= LEAST_CHANNELS
    kind = BlurredConv2d if blurs else nn.Conv2d
    return kind(
        channels_in,
        channels_out,
        kernel,
        stride=stride,
        padding=kernel // 2,
        bias=False,
    )
