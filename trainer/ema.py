"""Averages of the weights over the updates (``ema_decay``), to evaluate and to keep.

    e <- d e + (1 - d) w        after each update that was made, from e = w at first

Training goes on with the weights w; an evaluation takes the averages e, and so does an
export.  On all ranks e is bitwise the same, as w is.

The running averages of batch normalisation are averaged alike, means and variances.
Ranks have one network and different images, so `trainer.bn` pools their mean squares;
here the images are alike and the networks differ, and how a mean drifts from update to
update is no variance inside the averaged network.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer import bn


class Ema:
    """Exponential averages of a model's weights and running averages, beside them."""

    def __init__(self, model: nn.Module, decay: float):
        """Begin with copies, where the model is and as it lies in memory."""
        self.decay = decay
        running = [tensor for pair in bn.running(model) for tensor in pair]
        self.own = [p.detach() for p in model.parameters()] + running
        self.averages = [tensor.clone() for tensor in self.own]

    @torch.no_grad()
    def update(self, made: Tensor | None = None) -> None:
        """Move the averages towards the weights, without waiting for a device.

        ``made``, on the device: 1, or 0 after an update that was skipped, which moves
        nothing.
        """
        part = 1 - self.decay
        steps = torch._foreach_sub(self.own, self.averages)
        torch._foreach_mul_(steps, part if made is None else part * made)
        torch._foreach_add_(self.averages, steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the averages, and its own weights again at the end.

        What is written to the model meanwhile is written to the averages.
        """
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # the contents: optimiser, gradient buckets and compiled code hold the tensors
        for own, average in zip(self.own, self.averages, strict=True):
            kept = own.clone()
            own.copy_(average)
            average.copy_(kept)
