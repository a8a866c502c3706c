"""SGD with momentum in the u-form, and weight decay that spares normalisation.

``u <- m u + g; w <- w - lr u``, with Nesterov ``w <- w - lr (g + m u)``: torch's SGD.
The rate is outside u, so a rate that changes needs no correction of the momentum
(Goyal et al., arXiv:1706.02677, remark 2); g contains the decay ``weight_decay * w``,
which the size of the batch does not change (remark 1).
"""

from typing import Any

import torch
from torch import nn

from trainer.recipe import Optimizer

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def build(model: nn.Module, config: Optimizer) -> torch.optim.SGD:
    """Return the optimiser of ``model``, at the reference rate ``config.lr``.

    Its averages begin as zeros: torch leaves those uninitialised whose first update a
    loss scale has it skip.
    """
    decayed, spared = split(model)
    if config.decay_bn:
        decayed, spared = decayed + spared, []
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        fused=True,  # one pass over memory, not one for each operation
    )
    if config.momentum:
        for parameter in decayed + spared:
            average = torch.zeros_like(parameter, requires_grad=False)
            optimizer.state[parameter]["momentum_buffer"] = average
    return optimizer


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from ``state_dict`` of an optimiser, which may have run on another device.

    The averages get the memory format of the weights: a fused update takes both as they
    lie in memory, and would not notice a difference.
    """
    optimizer.load_state_dict(state)
    for parameter, own in optimizer.state.items():
        if own.get("momentum_buffer") is not None:
            average = torch.empty_like(parameter, requires_grad=False)
            own["momentum_buffer"] = average.copy_(own["momentum_buffer"])


def split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return trainable parameters outside and inside normalisation layers.

    Chosen by the module's type: a name such as ``downsample.1`` hides a normalisation.
    The bias of the last layer is outside, and decayed, as in the paper.
    """
    inside = {
        parameter
        for module in model.modules()
        if isinstance(module, NORMS)
        for parameter in module.parameters(recurse=False)
    }
    trainable = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trainable if p not in inside]
    return decayed, [p for p in trainable if p in inside]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use ``rate`` for the next update of every parameter."""
    for group in optimizer.param_groups:
        group["lr"] = rate
