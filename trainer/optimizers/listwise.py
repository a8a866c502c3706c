"""What the optimisers share: lists of tensors, updated at once in float32.

An optimiser here is one function of lists, which the multi-tensor kernels of torch
(``torch._foreach_*``) walk through::

    class Plain(Listwise):
        def update(self, group, weights, gradients):
            torch._foreach_add_(weights, gradients, alpha=-group["lr"])

Weights in half types are kept in float32 too, in the optimiser's state, and rounded
after each update; gradients in half types are widened before any norm is taken.  So
small updates are not lost, and squares neither overflow nor vanish (Jia et al.,
arXiv:1807.11205; Mikami et al., arXiv:1811.05233).  float64 stays float64.

Nothing waits for a device.  Under a loss scale `torch.amp.GradScaler` itself decides
whether ``step()`` is called at all.
"""

from collections.abc import Iterable
from math import inf
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from collectives import InvalidArgument

Tensors: TypeAlias = list[Tensor] | tuple[Tensor, ...]
HALVES = (torch.float16, torch.bfloat16)
AT_LEAST_0 = (0.0, inf)
BELOW_1 = (0.0, 1.0)


class Listwise(torch.optim.Optimizer):
    """An optimiser whose update is a function of lists of float32 tensors.

    Any option may be set per group, and changed between updates as ``lr`` is.
    """

    AVERAGES: ClassVar[tuple[str, ...]] = ()  # state per tensor, which begins as zeros
    RANGES: ClassVar[dict[str, tuple[float, float]]] = {}  # the upper end is excluded
    CHOICES: ClassVar[dict[str, tuple[Any, ...]]] = {}

    def update(
        self,
        group: dict[str, Any],
        weights: Tensors,
        gradients: Tensors,
        *averages: Tensors,
    ) -> None:
        """Update weights and averages of one group in place, but not gradients.

        All lists have one tensor for each parameter that has a gradient; there is a
        list of averages for each name in ``AVERAGES``.
        """
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make one update; return what ``closure`` returns, which computes the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                weights = [self._wide(p) for p in parameters]
                gradients = widened([p.grad for p in parameters], weights)
                averages = [self._averages(name, parameters) for name in self.AVERAGES]
                self.update(group, weights, gradients, *averages)
                narrow(weights, parameters)
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with options of their own.

        Raises:
            InvalidArgument: an option has no such name, or a value that cannot be.
        """
        self.check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def check(self, options: dict[str, Any]) -> None:
        """Refuse unknown options and impossible values."""
        own = type(self).__name__
        unknown = set(options) - {"params", "param_names", *self.defaults}
        if unknown:
            raise InvalidArgument(
                f"{own}: no option {', '.join(sorted(unknown))}; the options are "
                f"{', '.join(sorted(self.defaults))}"
            )
        for name, (low, high) in self.RANGES.items():
            value = options[name]
            if not isinstance(value, (int, float)) or not low <= value < high:
                limit = "" if high == inf else f", below {high:g}"
                raise InvalidArgument(
                    f"{own}: {name} is {value!r}, expected a number from {low:g}{limit}"
                )
        for name, valid in self.CHOICES.items():
            if options[name] not in valid:
                raise InvalidArgument(
                    f"{own}: {name} is {options[name]!r}, expected one of "
                    f"{', '.join(map(str, valid))}"
                )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict()`` of such an optimiser, bitwise.

        The state stays as wide as it was (torch narrows it to the parameter's type),
        and takes the device and the memory format of the parameter.

        Raises:
            InvalidArgument: it is the state of an optimiser of another kind.
        """
        for group in state_dict["param_groups"]:
            missing = sorted(set(self.defaults) - set(group))
            if missing:
                raise InvalidArgument(
                    f"{type(self).__name__}: the state has no {', '.join(missing)}, so "
                    "an optimiser of another kind wrote it; go on with that kind, or "
                    "begin anew"
                )
        super().load_state_dict(state_dict)
        saved = members(state_dict["param_groups"])
        for index, parameter in zip(saved, members(self.param_groups), strict=True):
            for name, tensor in state_dict["state"].get(index, {}).items():
                own = torch.empty_like(
                    parameter, dtype=wide(parameter), requires_grad=False
                )
                self.state[parameter][name] = own.copy_(tensor)

    def _wide(self, parameter: Tensor) -> Tensor:
        """Return the parameter, or its float32 copy where it is of a half type."""
        if parameter.dtype == wide(parameter):
            return parameter
        state = self.state[parameter]
        if "weight" not in state:
            state["weight"] = parameter.detach().to(wide(parameter))
        weight: Tensor = state["weight"]
        return weight

    def _averages(self, name: str, parameters: Tensors) -> Tensors:
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(
                    parameter, dtype=wide(parameter), requires_grad=False
                )
        return [self.state[parameter][name] for parameter in parameters]


def wide(tensor: Tensor) -> torch.dtype:
    """Return the type in which a tensor's updates are computed."""
    return torch.float32 if tensor.dtype in HALVES else tensor.dtype


def widened(gradients: Tensors, weights: Tensors) -> Tensors:
    """Return gradients of the weights' types: themselves, or copies."""
    if all(g.dtype == w.dtype for g, w in zip(gradients, weights, strict=True)):
        return gradients
    copies = [torch.empty_like(weight, requires_grad=False) for weight in weights]
    torch._foreach_copy_(copies, gradients)
    return copies


def narrow(weights: Tensors, parameters: Tensors) -> None:
    """Round updated weights into those parameters that are of half types."""
    pairs = [(p, w) for p, w in zip(parameters, weights, strict=True) if p is not w]
    if pairs:
        halves, wholes = zip(*pairs, strict=True)
        torch._foreach_copy_(halves, wholes)


def decayed(gradients: Tensors, weights: Tensors, decay: float) -> Tensors:
    """Return ``gradients + decay * weights``: new tensors, unless ``decay`` is 0."""
    return torch._foreach_add(gradients, weights, alpha=decay) if decay else gradients


def norms(tensors: Tensors) -> Tensor:
    """Return each tensor's 2-norm; shape ``(tensors,)``."""
    return torch.stack(torch._foreach_norm(tensors))


def members(groups: Iterable[dict[str, Any]]) -> list[Any]:
    """Return the parameters of all groups, in order."""
    return [parameter for group in groups for parameter in group["params"]]
