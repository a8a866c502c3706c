"""Ghost batch normalisation: parts of a microbatch are normalised each by itself.

The running averages get what the parts together say: the mean of their means, and of
their mean squares; so the variance is the mean of theirs plus that of their means.

E. Hoffer, I. Hubara, D. Soudry: Train longer, generalize better.  arXiv:1705.08741,
algorithm 1 (there the running averages decay once for each part).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class GhostNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` of ``images`` at a time, in order, in training."""

    images = 0

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W), N a multiple of ``images``; move the averages."""
        if not self.training:
            return super().forward(x)
        parts = x.split(self.images)
        shape = len(parts), self.num_features
        means = self.running_mean.new_zeros(shape)
        variances = self.running_var.new_zeros(shape)
        y = [
            functional.batch_norm(
                part, mean, variance, self.weight, self.bias, True, 1.0, self.eps
            )
            for part, mean, variance in zip(parts, means, variances, strict=True)
        ]
        variance = variances.mean(0) + means.var(0, correction=0)
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(means.mean(0), self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        return torch.cat(y)
