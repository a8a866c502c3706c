"""Batch normalisation over a group of ranks, forward and backward.

With m values of a channel on all ranks of the group, x on this one, and y = gamma h +
beta for h = (x - mean) / sqrt(variance + eps)::

    forward   sum (x - s), sum (x - s)^2    added within the group; mean, variance
    backward  sum dy, sum dy h              added within the group
              dx = gamma / sqrt(variance + eps) (dy - sum dy / m - h sum dy h / m)

Both pairs of sums are one small message, in float32 whatever the activations are, in
float64 for these.  The shift s is the running mean, which the ranks of a group have in
common: squares of numbers far from 0 would leave no digits for the variance.  The
gradients of gamma and beta are this rank's own sums: the reducer takes the mean over
all ranks, as it does with every gradient.

C. Ying et al.: Image classification at supercomputer scale.  arXiv:1811.06992; the
sums as in Google's code for it.  S. Ioffe, C. Szegedy: Batch normalization.
arXiv:1502.03167, section 3 (the derivatives).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

OVER = (0, 2, 3)  # axes of (N, C, H, W) that statistics are taken over


class SpanNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose training batch is that of all ranks of ``comm``.

    Without ``comm``, and in evaluation, it is the plain one.  The ranks give equal
    shapes, in the same order of calls.
    """

    comm: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W); in training move the running averages."""
        if self.comm is None or not self.training:
            return super().forward(x)
        return self._together(x)

    @torch.compiler.disable  # what MPI does cannot be traced
    def _together(self, x: Tensor) -> Tensor:
        y, mean, variance = Normalise.apply(
            x, self.weight, self.bias, self.running_mean, self.eps, self.comm
        )
        count = x.numel() // x.shape[1] * self.comm.size
        unbiased = variance * (count / max(count - 1, 1))
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)
        return y


class Normalise(torch.autograd.Function):
    """(x, gamma, beta, shift) to y, and the group's mean and biased variance."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        shift: Tensor,
        eps: float,
        comm: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add the sums of the group, and normalise by them."""
        wide = widened(x) - column(shift)
        sums = torch.cat([wide.sum(OVER), wide.square().sum(OVER)])
        count = x.numel() // x.shape[1] * comm.size
        mean, square = (comm.allreduce(sums, out=sums) / count).chunk(2)
        variance = (square - mean**2).clamp_min(0)
        scale = torch.rsqrt(variance + eps)
        y = column(gamma * scale) * (wide - column(mean)) + column(beta)
        mean = mean + shift
        ctx.save_for_backward(x, gamma, mean, scale)
        ctx.comm, ctx.count = comm, count
        ctx.mark_non_differentiable(mean, variance)
        return y.to(x.dtype), mean, variance

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """Return the gradients of x, gamma and beta."""
        x, gamma, mean, scale = ctx.saved_tensors
        wide = widened(grad)
        h = (widened(x) - column(mean)) * column(scale)
        mine = torch.cat([wide.sum(OVER), (wide * h).sum(OVER)])
        both = ctx.comm.allreduce(mine.clone()) / ctx.count
        along, across = both.chunk(2)
        inner = column(gamma * scale) * (wide - column(along) - h * column(across))
        beta_grad, gamma_grad = mine.to(gamma.dtype).chunk(2)
        return inner.to(x.dtype), gamma_grad, beta_grad, None, None, None


def widened(x: Tensor) -> Tensor:
    """Return ``x`` in the type of its statistics."""
    return x if x.dtype == torch.float64 else x.float()


def column(values: Tensor) -> Tensor:
    """Return one value for each channel so that it meets (N, C, H, W)."""
    return values[:, None, None]


def split(comm: Any, sizes: Iterable[int]) -> dict[int, Any]:
    """Make the communicators of groups of so many neighbouring ranks; all call it.

    They are not the one that gradients are reduced with: that may be at work.
    """
    wanted = sorted(set(sizes) - {1})
    return {size: comm.split(comm.rank // size, comm.rank) for size in wanted}


def use(model: nn.Module, comm: Any) -> None:
    """Have the model normalise over the ranks of ``comm``, or each alone if None."""
    for module in model.modules():
        if isinstance(module, SpanNorm):
            module.comm = comm
