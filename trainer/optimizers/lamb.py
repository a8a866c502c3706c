"""LAMB: Adam's direction, at a length in proportion to the norm of the weights.

    m <- beta1 m + (1 - beta1) g          m' = m / (1 - beta1^t)
    v <- beta2 v + (1 - beta2) g^2        v' = v / (1 - beta2^t)
    r  = m' / (sqrt(v') + eps) + decay w
    w <- w - lr (|w| / |r|) r

The form with bias correction, without bounds on |w| and without clipping of gradients
(libraries differ in all three); the ratio is 1 where a norm is 0.

Y. You, J. Li, S. Reddi et al.: Large batch optimization for deep learning: training
BERT in 76 minutes.  arXiv:1904.00962; read in tensorflow/addons at 00beec0,
``tensorflow_addons/optimizers/lamb.py``.
"""

from math import sqrt
from typing import Any

import torch

from trainer.optimizers.listwise import (
    AT_LEAST_0,
    BELOW_1,
    Listwise,
    Tensors,
    decayed,
    norms,
)


class LAMB(Listwise):
    """Layer-wise adaptive moments.

    A group with ``skip`` takes the raw rate, ratio 1, and no decay.  t counts a group's
    updates; a tensor whose gradients come later is not corrected for that.
    """

    AVERAGES = ("mean", "square")
    RANGES = {
        "lr": AT_LEAST_0,
        "beta1": BELOW_1,
        "beta2": BELOW_1,
        "eps": AT_LEAST_0,
        "weight_decay": AT_LEAST_0,
    }
    CHOICES = {"skip": (False, True)}

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        skip: bool = False,
    ):
        """Take parameters or groups of them, as torch's optimisers do.

        Raises:
            InvalidArgument: a value cannot be.
        """
        options = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "weight_decay": weight_decay,
            "skip": skip,
            "updates": 0,  # made so far
        }
        super().__init__(params, options)

    def update(
        self,
        group: dict[str, Any],
        weights: Tensors,
        gradients: Tensors,
        *averages: Tensors,
    ) -> None:
        """Make one update of a group."""
        group["updates"] += 1
        step = direction(group, gradients, *averages)
        if group["skip"]:
            torch._foreach_add_(weights, step, alpha=-group["lr"])
            return
        step = decayed(step, weights, group["weight_decay"])
        weight, length = norms(weights), norms(step)
        ratio = torch.where((weight > 0) & (length > 0), weight / length, 1.0)
        torch._foreach_addcmul_(weights, step, (-group["lr"] * ratio).unbind())


def direction(
    group: dict[str, Any],
    gradients: Tensors,
    mean: Tensors,
    square: Tensors,
) -> Tensors:
    """Add gradients to the averages; return Adam's direction, without the decay."""
    beta1, beta2, updates = group["beta1"], group["beta2"], group["updates"]
    torch._foreach_mul_(mean, beta1)
    torch._foreach_add_(mean, gradients, alpha=1 - beta1)
    torch._foreach_mul_(square, beta2)
    torch._foreach_addcmul_(square, gradients, gradients, value=1 - beta2)
    below = torch._foreach_sqrt(square)
    torch._foreach_div_(below, sqrt(1 - beta2**updates))
    torch._foreach_add_(below, group["eps"])
    step = torch._foreach_div(mean, below)
    torch._foreach_div_(step, 1 - beta1**updates)
    return step
