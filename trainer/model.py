"""ResNet-50 with torchvision's parameter names, initialised as Goyal et al. do.

Stem 7x7/2 and 3x3/2 max-pool, bottleneck stages of 3, 4, 6 and 3 blocks with 64, 128,
256 and 512 channels (four times as many leave a block), a projection on the first block
of each stage, global average pool, one linear layer.  Convolutions have no bias.  At
1000 classes: 161 parameter tensors, 25,557,032 parameters, 320 ``state_dict`` entries.

K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition.
CVPR 2016, arXiv:1512.03385, table 1 (the layers; stride in the first 1x1: ``v1``).
P. Goyal et al.: Accurate, large minibatch SGD.  arXiv:1706.02677, section 5.1
(stride in the 3x3: ``v1.5``; gamma = 0 in the last normalisation of each block).
"""

import torch
from torch import Tensor, nn

from collectives import InvalidArgument
from trainer.blur import conv
from trainer.fields import Model
from trainer.layers import EXPANSION

STRIDES = ("v1", "v1.5")
FAN_MODES = ("fan_in", "fan_out")


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut; see the module's docstring."""

    def __init__(self, channels_in: int, width: int, *, stride: int, config: Model):
        """Make a block from ``channels_in`` to ``4 * width`` channels."""
        super().__init__()
        channels_out, blurpool = EXPANSION * width, config.blurpool
        first, second = (stride, 1) if config.stride == "v1" else (1, stride)
        self.conv1 = conv(channels_in, width, 1, stride=first, blurpool=blurpool)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride=second, blurpool=blurpool)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                conv(channels_in, channels_out, 1, stride=stride, blurpool=blurpool),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, 4 * width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + shortcut)


class ResNet(nn.Module):
    """Images (N, 3, H, W) to scores (N, classes), for any H and W from 1 up."""

    def __init__(self, config: Model):
        """Build and initialise the layers from torch's global random generator."""
        super().__init__()
        _check(config)
        width = config.width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = width
        for stage, blocks in enumerate(config.blocks):
            stage_width = width * 2**stage
            layer = nn.Sequential()
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layer.append(
                    Bottleneck(channels, stage_width, stride=stride, config=config)
                )
                channels = EXPANSION * stage_width
            self.add_module(f"layer{stage + 1}", layer)
        self.stages = len(config.blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, config.classes)
        initialise(self, config)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores before the softmax."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def build(config: Model, *, seed: int) -> ResNet:
    """Make the network whose initial weights depend on ``config`` and ``seed`` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResNet(config)


def initialise(model: ResNet, config: Model) -> None:
    """Set convolutions to He's normal law, the last layer to N(0, 0.01^2), bias 0.

    Gamma is 1 and beta 0, except gamma 0 in the last normalisation of each residual
    block where ``config.zero_gamma``: the block is then the identity at first.  The
    fan of He's law is not printed in the paper; ``config.fan_mode`` selects it.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode=config.fan_mode, nonlinearity="relu"
            )
        elif isinstance(module, Bottleneck) and config.zero_gamma:
            nn.init.zeros_(module.bn3.weight)
    nn.init.normal_(model.fc.weight, std=0.01)
    nn.init.zeros_(model.fc.bias)


def _check(config: Model) -> None:
    choices = {"stride": STRIDES, "fan_mode": FAN_MODES}
    for name, valid in choices.items():
        got = getattr(config, name)
        if got not in valid:
            raise InvalidArgument(
                f"model.{name}: got {got!r}, expected one of {', '.join(valid)}"
            )
    sizes = (config.classes, config.width, *config.blocks)
    if not config.blocks or min(sizes) < 1:
        raise InvalidArgument(
            "model: classes, width and each entry of blocks must be at least 1, got "
            f"{config.classes}, {config.width} and {config.blocks}"
        )
