"""RMSprop warm-up: from RMSprop to momentum SGD within the first epochs.

    M <- mu2 M + (1 - mu2) g^2
    D <- mu1 D - (a_SGD + a_RMS / (sqrt(M) + eps)) g
    w <- w + lr D,   a_RMS = (1 - a_SGD) lr_RMS / lr

The rate is outside D, so its changes need no correction of the momentum.  a_SGD goes
from nearly 0 to 1 as the epochs pass.  M begins at 0 and has no bias correction, as
printed; ``weight_decay * w`` is part of g, hence of M (chosen: the paper does not say).

T. Akiba, S. Suzuki, K. Fukuda: Extremely large minibatch SGD: training ResNet-50 on
ImageNet in 15 minutes.  arXiv:1711.04325.
"""

from typing import Any

import torch

from collectives import InvalidArgument
from trainer.optimizers.listwise import AT_LEAST_0, BELOW_1, Listwise, Tensors, decayed
from trainer.transition import a_sgd


class RMSpropWarmup(Listwise):
    """RMSprop that turns into momentum SGD.

    Set each group's ``epoch`` before an update, as ``lr``, the rate of SGD.  The
    paper's values are the defaults; ``momentum`` is its mu1, ``decay`` its mu2.
    Where SGD is all, M is not needed any more and stays as it was.
    """

    AVERAGES = ("direction", "square")
    RANGES = {
        "lr": AT_LEAST_0,
        "lr_rmsprop": AT_LEAST_0,
        "momentum": BELOW_1,
        "decay": BELOW_1,
        "eps": AT_LEAST_0,
        "weight_decay": AT_LEAST_0,
        "epoch": AT_LEAST_0,
        "center": AT_LEAST_0,
        "period": AT_LEAST_0,
    }
    CHOICES = {"as_printed": (False, True)}

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        lr_rmsprop: float = 3e-4,
        momentum: float = 0.9,
        decay: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        epoch: float = 0.0,
        center: float = 10.0,
        period: float = 5.0,
        as_printed: bool = False,
    ):
        """Take parameters or groups of them, as torch's optimisers do.

        Raises:
            InvalidArgument: a value cannot be.
        """
        options = {
            "lr": lr,
            "lr_rmsprop": lr_rmsprop,
            "momentum": momentum,
            "decay": decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "epoch": epoch,  # fractional, of the next update
            "center": center,
            "period": period,
            "as_printed": as_printed,
        }
        super().__init__(params, options)

    def check(self, options: dict[str, Any]) -> None:
        """Refuse a transition without length, and an eps of 0, too."""
        super().check(options)
        for name in ("period", "eps"):
            if options[name] == 0:
                raise InvalidArgument(
                    f"RMSpropWarmup: {name} is 0, expected a number above 0"
                )

    def update(
        self,
        group: dict[str, Any],
        weights: Tensors,
        gradients: Tensors,
        *averages: Tensors,
    ) -> None:
        """Make one update of a group.

        Raises:
            InvalidArgument: lr is 0 before SGD is all, where a_RMS has no value.
        """
        direction, square = averages
        of_sgd, of_rmsprop = shares(group)
        gradients = decayed(gradients, weights, group["weight_decay"])
        torch._foreach_mul_(direction, group["momentum"])
        torch._foreach_add_(direction, gradients, alpha=-of_sgd)
        if of_rmsprop:
            torch._foreach_mul_(square, group["decay"])
            torch._foreach_addcmul_(
                square, gradients, gradients, value=1 - group["decay"]
            )
            root = torch._foreach_sqrt(square)
            torch._foreach_add_(root, group["eps"])
            torch._foreach_addcdiv_(direction, gradients, root, value=-of_rmsprop)
        torch._foreach_add_(weights, direction, alpha=group["lr"])


def shares(group: dict[str, Any]) -> tuple[float, float]:
    """Return a_SGD and a_RMS of a group's next update.

    Raises:
        InvalidArgument: lr is 0 before SGD is all.
    """
    of_sgd = a_sgd(
        group["epoch"],
        center=group["center"],
        period=group["period"],
        as_printed=group["as_printed"],
    )
    if of_sgd == 1:
        return 1.0, 0.0
    if group["lr"] == 0:
        raise InvalidArgument(
            f"RMSpropWarmup: lr is 0 at epoch {group['epoch']:g}, but a_RMS is "
            "(1 - a_SGD) lr_RMS / lr; expected a rate above 0 until epoch "
            f"{group['center'] + group['period'] / 2:g}, where a_SGD is 1"
        )
    return of_sgd, (1 - of_sgd) * group["lr_rmsprop"] / group["lr"]
