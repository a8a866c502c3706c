"""Momentum in the v-form: the learning rate inside the average.

``v <- m v + lr g;  w <- w - v``, as Caffe and Chainer have it.  Where the rate changes,
old gradients keep the old rate, unless v is corrected (Goyal et al., arXiv:1706.02677,
remark 2)::

    v <- m (lr / previous lr) v + lr g

Then ``v = lr u``, and all is equal to the u-form, ``u <- m u + g;  w <- w - lr u``,
which is `torch.optim.SGD`.  Nesterov's step is ``w <- w - (lr g + m v)`` here;
corrected, it equals the u-form's ``w <- w - lr (g + m u)``.
"""

from typing import Any

import torch

from trainer.optimizers.listwise import AT_LEAST_0, BELOW_1, Listwise, Tensors, decayed


class VMomentum(Listwise):
    """Stochastic gradient descent with momentum in the v-form.

    ``weight_decay * w`` is part of g.  Without ``corrected`` it is what older programs
    computed, which is not what the paper says.
    """

    AVERAGES = ("average",)
    RANGES = {"lr": AT_LEAST_0, "momentum": BELOW_1, "weight_decay": AT_LEAST_0}
    CHOICES = {"nesterov": (False, True), "corrected": (False, True)}

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        corrected: bool = True,
    ):
        """Take parameters or groups of them, as torch's optimisers do.

        Raises:
            InvalidArgument: a value cannot be.
        """
        options = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "corrected": corrected,
            "previous_lr": None,  # of the last update
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
        lr, momentum = group["lr"], group["momentum"]
        if group["corrected"]:
            self._correct(group)
        group["previous_lr"] = lr
        gradients = decayed(gradients, weights, group["weight_decay"])
        (v,) = averages
        torch._foreach_mul_(v, momentum)
        torch._foreach_add_(v, gradients, alpha=lr)
        if group["nesterov"]:
            torch._foreach_add_(weights, gradients, alpha=-lr)
            torch._foreach_add_(weights, v, alpha=-momentum)
        else:
            torch._foreach_sub_(weights, v)

    def _correct(self, group: dict[str, Any]) -> None:
        """Give old gradients the new rate, also where there is no new gradient.

        A rate of 0 has emptied v: it begins anew, and there is nothing to correct.
        """
        previous = group["previous_lr"]
        if previous and previous != group["lr"]:
            held = [self.state[p] for p in group["params"] if p in self.state]
            torch._foreach_mul_([s["average"] for s in held], group["lr"] / previous)
