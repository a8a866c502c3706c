"""Averages of the weights over the updates (``ema_decay``), to evaluate and to keep.

    e <- d e + (1 - d) w        after each update that was made, from e = w at first

Training goes on with the weights w; an evaluation takes the averages e, and so does an
export.  On all ranks e is bitwise the same, as w is.

The running averages of batch normalisation are averaged alike, means and variances, of
each worker by itself (`trainer.averages`).  Workers have one network and different
images, so `trainer.bn` pools their mean squares; here the images are alike and the
networks differ, and how a mean drifts from update to update is no variance inside the
averaged network.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from trainer.averages import Averages


class Ema:
    """A second network, which holds the averages of the first one."""

    def __init__(self, model: nn.Module, decay: float):
        """Begin with a copy, where the model is and as it lies in memory."""
        self.decay = decay
        self.own = [parameter.detach() for parameter in model.parameters()]
        self.model = deepcopy(model).requires_grad_(False)
        self.parameters = list(self.model.parameters())
        self.averages = Averages(self.model)

    @torch.no_grad()
    def update(self, averages: Averages, made: Tensor | None = None) -> None:
        """Move towards the weights, and running averages, without waiting for a device.

        ``averages`` are those of the first network.  ``made``, on the device: 1, or 0
        after an update that was skipped, which moves nothing.
        """
        part: Any = 1 - self.decay
        if made is not None:
            part = part * made.to(self.parameters[0].dtype)
        steps = torch._foreach_sub(self.own, self.parameters)
        torch._foreach_mul_(steps, part)
        torch._foreach_add_(self.parameters, steps)
        self.averages.follow(averages, part)
