"""LARS: each tensor's rate in proportion to its weights' norm over its gradient's.

    trust = coefficient |w| / (|g| + decay |w| + eps)

Three forms are about, which differ whenever rate or trust moves, in every warm-up:

    v       v <- m v + lr trust (g + decay w);  w <- w - v       the paper, nnabla
    u       u <- m u + (g + decay w);           w <- w - lr trust u   early TensorFlow
    hybrid  b <- m b + trust (g + decay w);     w <- w - lr b    timm, apex over SGD

The v-form has no correction of the momentum; corrected, it is the hybrid.

Y. You, I. Gitman, B. Ginsburg: Large batch training of convolutional networks.
arXiv:1708.03888, algorithm 1.  The forms and rules were read in sony/nnabla,
tensorflow/tpu and timm.
"""

from typing import Any

import torch
from torch import Tensor

from collectives import InvalidArgument
from trainer.optimizers.listwise import (
    AT_LEAST_0,
    BELOW_1,
    Listwise,
    Tensors,
    decayed,
    norms,
)


class LARS(Listwise):
    """Layer-wise adaptive rate scaling.

    * ``form``: "v", "u" or "hybrid".
    * ``decay_in``: "update", the paper's, adds ``weight_decay * w`` after the norm of
      the gradient is taken; "loss" before, as an L2 term of the loss does, so that the
      decay counts twice in trust (TensorFlow's TPU model at f4fa4d7).
    * ``eps_rule``: "denominator" as above, and trust is 1 where |w| or |g| is 0 (timm;
      TensorFlow with eps 0).  "threshold", nnabla's: eps is added to a denominator
      below eps only, and trust is 1 where |w| < eps.
    * ``skip``: for a group on the skip list, which takes the raw rate, trust 1, and no
      decay; but a decay in the loss is the loss's, so it stays.

    The paper's momentum is 0.9, its coefficient 0.001.
    """

    AVERAGES = ("average",)
    RANGES = {
        "lr": AT_LEAST_0,
        "momentum": BELOW_1,
        "weight_decay": AT_LEAST_0,
        "coefficient": AT_LEAST_0,
        "eps": AT_LEAST_0,
    }
    CHOICES = {
        "form": ("v", "u", "hybrid"),
        "eps_rule": ("denominator", "threshold"),
        "decay_in": ("update", "loss"),
        "skip": (False, True),
    }

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        form: str = "v",
        coefficient: float = 0.001,
        eps: float = 0.0,
        eps_rule: str = "denominator",
        decay_in: str = "update",
        skip: bool = False,
    ):
        """Take parameters or groups of them, as torch's optimisers do.

        Raises:
            InvalidArgument: a value cannot be.
        """
        options = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "form": form,
            "coefficient": coefficient,
            "eps": eps,
            "eps_rule": eps_rule,
            "decay_in": decay_in,
            "skip": skip,
        }
        super().__init__(params, options)

    def check(self, options: dict[str, Any]) -> None:
        """Refuse a threshold of 0 too, under which 0 / 0 would be a trust."""
        super().check(options)
        if options["eps_rule"] == "threshold" and options["eps"] == 0:
            raise InvalidArgument(
                "LARS: eps is 0, but eps_rule 'threshold' needs one above 0 (nnabla's "
                "is 1e-06); or choose eps_rule 'denominator'"
            )

    def update(
        self,
        group: dict[str, Any],
        weights: Tensors,
        gradients: Tensors,
        *averages: Tensors,
    ) -> None:
        """Make one update of a group."""
        (average,) = averages
        decay = group["weight_decay"]
        if group["decay_in"] == "loss":
            gradients = decayed(gradients, weights, decay)
        if group["skip"]:
            trust = weights[0].new_ones(len(weights))
        else:
            trust = trust_ratios(group, norms(weights), norms(gradients))
        if group["decay_in"] == "update" and not group["skip"]:
            gradients = decayed(gradients, weights, decay)
        torch._foreach_mul_(average, group["momentum"])
        move(group["form"], group["lr"], trust, weights, gradients, average)


def trust_ratios(group: dict[str, Any], weight: Tensor, gradient: Tensor) -> Tensor:
    """Return each tensor's trust ratio from its norms; all of shape ``(tensors,)``."""
    eps = group["eps"]
    scaled = group["coefficient"] * weight
    below = gradient + group["weight_decay"] * weight
    if group["eps_rule"] == "threshold":
        below = torch.where(below < eps, below + eps, below)
        return torch.where(weight < eps, 1.0, scaled / below)
    proper = (weight > 0) & (gradient > 0)
    return torch.where(proper, scaled / (below + eps), 1.0)


def move(
    form: str,
    lr: float,
    trust: Tensor,
    weights: Tensors,
    gradients: Tensors,
    average: Tensors,
) -> None:
    """Add gradients to the average, which has decayed; move the weights."""
    if form == "v":
        torch._foreach_addcmul_(average, gradients, (lr * trust).unbind())
        torch._foreach_sub_(weights, average)
    elif form == "u":
        torch._foreach_add_(average, gradients)
        torch._foreach_addcmul_(weights, average, (-lr * trust).unbind())
    else:
        torch._foreach_addcmul_(average, gradients, trust.unbind())
        torch._foreach_add_(weights, average, alpha=-lr)
