"""The optimiser of a recipe, its groups of parameters, and what moves it on.

``u <- m u + g; w <- w - lr u``, with Nesterov ``w <- w - lr (g + m u)``: torch's SGD,
the default.  The rate is outside u, so a rate that changes needs no correction of the
momentum (Goyal et al., arXiv:1706.02677, remark 2); g contains the decay ``weight_decay
* w``, which the size of the batch does not change (remark 1).  The others are in
`trainer.optimizers`.

Parameters form groups, by whether they decay and whether they are on the skip list of
layer-wise rates.
"""

from typing import Any

import torch
from torch import nn

from trainer import optimizers
from trainer.fields import Lars, Optimizer, Rmsprop

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
LAYERWISE = ("lars", "lamb")  # kinds that have a skip list
Group = dict[str, Any]


def build(
    model: nn.Module,
    config: Optimizer,
    *,
    lars: Lars | None = None,
    rmsprop: Rmsprop | None = None,
) -> torch.optim.Optimizer:
    """Return the optimiser of ``model``, at the reference rate ``config.lr``.

    ``lars`` and ``rmsprop`` are settings of the kinds that need them.
    """
    lars, rmsprop = lars or Lars(), rmsprop or Rmsprop()
    skip = lars.skip if config.kind in LAYERWISE else "none"
    groups = group(model, config, skip=skip)
    if config.kind == "lars":
        return optimizers.LARS(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            form=config.form,
            coefficient=lars.coefficient,
            eps=lars.eps,
            eps_rule=lars.eps_rule,
            decay_in=lars.decay_in,
        )
    if config.kind == "lamb":
        return optimizers.LAMB(groups, lr=config.lr, beta1=config.momentum)
    if config.kind == "rmsprop_warmup":
        return optimizers.RMSpropWarmup(
            groups,
            lr=config.lr,
            lr_rmsprop=rmsprop.lr,
            momentum=config.momentum,
            decay=rmsprop.decay,
            eps=rmsprop.eps,
            center=rmsprop.centre_epoch,
            period=rmsprop.period_epochs,
            as_printed=rmsprop.transition == "as_printed",
        )
    if config.form == "u":
        return plain(groups, config)
    return optimizers.VMomentum(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        corrected=config.form != "v",
    )


def plain(groups: list[Group], config: Optimizer) -> torch.optim.SGD:
    """Return torch's SGD.

    Its averages begin as zeros: torch leaves those uninitialised whose first update a
    loss scale has it skip.
    """
    optimizer = torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        fused=True,  # one pass over memory, not one for each operation
    )
    if config.momentum:
        for members in groups:
            for parameter in members["params"]:
                average = torch.zeros_like(parameter, requires_grad=False)
                optimizer.state[parameter]["momentum_buffer"] = average
    return optimizer


def group(model: nn.Module, config: Optimizer, *, skip: str) -> list[Group]:
    """Return the groups of trainable parameters, those outside normalisation first.

    ``skip`` is "none", or "bn_bias": gamma, beta and bias get ``skip`` in their group.
    """
    outside, inside = split(model)
    named = {parameter: name for name, parameter in model.named_parameters()}
    norms = set(inside)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in outside + inside:
        bias = named[parameter].endswith("bias")
        if parameter in norms:
            decays = config.decay_bn
        else:
            decays = config.decay_fc_bias or not bias
        skipped = skip == "bn_bias" and (bias or parameter in norms)
        groups.setdefault((decays, skipped), []).append(parameter)
    return [
        {
            "params": members,
            "weight_decay": config.weight_decay if decays else 0.0,
            **({"skip": True} if skipped else {}),
        }
        for (decays, skipped), members in groups.items()
    ]


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
    The bias of the last layer is outside.
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


def advance(optimizer: torch.optim.Optimizer, **values: Any) -> None:
    """Set options for the next update in all groups, those that the kind has.

    ``momentum`` is LAMB's ``beta1``.
    """
    if "momentum" in values:
        values["beta1"] = values["momentum"]
    for members in optimizer.param_groups:
        members.update({k: v for k, v in values.items() if k in members})
