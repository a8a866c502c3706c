"""Precision: half types where they are fast, float32 where it matters.

With ``bfloat16`` and ``float16`` torch's autocast runs convolutions and matrix products
in that type.  Weights, gradients, the optimiser's averages, the statistics of batch
normalisation and the loss stay float32.  ``float32`` is torch's own: on GPUs that have
it, cuDNN's convolutions multiply in TF32, unless NVIDIA_TF32_OVERRIDE=0.

float16 has no small numbers, so the loss is multiplied by a scale before the backward
pass and the gradients are divided by it in the update (`torch.amp.GradScaler`).  Where
a gradient overflows, the update is skipped and the scale halved; after 2,000 updates
without that it is doubled.  All ranks decide alike without asking each other: they
look at the averaged gradients, which are bitwise the same everywhere.  What was
infinite or no number on one rank is so in the average, and so is a sum that overflows
on the wire, where no rank's own gradient did.  float32 has a scale too where gradients
travel as float16 (`trainer.wire`).

With a fixed scale (``loss_scale``) such updates are skipped too; the scale stays.

A skipped update counts as an update: the learning rate goes on, the images were seen.

P. Micikevicius et al.: Mixed precision training.  ICLR 2018, arXiv:1710.03740.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from collectives import InvalidArgument
from trainer.place import Place
from trainer.recipe import PRECISIONS


class Precision:
    """How forward, backward and update of one run compute."""

    def __init__(
        self,
        name: str,
        device_type: str,
        *,
        fixed: float = 0.0,
        first_scale: float | None = None,
    ):
        """Keep the scale ``fixed``, or adapt it (0), from ``first_scale``.

        With None that is 65,536 where the type is float16, and no scale elsewhere.
        """
        self.name, self.device_type, self.fixed = name, device_type, fixed
        self.scaler = torch.amp.GradScaler(
            device_type,
            init_scale=fixed or first_scale or 65536.0,
            enabled=name == "float16" or first_scale is not None,
        )
        self.one = torch.ones((), device=device_type)
        self.skips = torch.zeros((), device=device_type)  # updates
        self.made: Tensor | None = None  # the last update: 1, or 0 if it was skipped
        self.scale = self.scaler.get_scale()  # when it was read last
        self.skipped = 0  # updates, until then

    @property
    def scaled(self) -> bool:
        """Whether the loss is scaled."""
        return self.scaler.is_enabled()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context for the forward pass."""
        if self.name == "float32":
            return nullcontext()
        return torch.autocast(self.device_type, dtype=getattr(torch, self.name))

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the scaled loss."""
        self.scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the weights, unless a gradient overflowed; adapt the scale.

        A fused optimiser divides and skips on the device.  For any other the host waits
        until it knows whether a gradient overflowed.
        """
        before = self.scaler.scale(self.one)
        self.scaler.step(optimizer)
        if not self.scaled:
            return
        self.scaler.update()
        # A lower scale is all that torch tells, on the device, of an overflow.
        self.made = (self.scaler.scale(self.one) >= before).float()
        self.skips += 1 - self.made
        if self.fixed:
            self.scaler.update(self.fixed)

    def current(self) -> Tensor:
        """Return (scale, updates skipped so far) where they are, on the device."""
        return torch.stack([self.scaler.scale(self.one), self.skips])

    def note(self, current: list[float]) -> None:
        """Take down what `current` was, perhaps some updates ago."""
        self.scale, self.skipped = current[0], int(current[1])

    def told(self) -> dict[str, float]:
        """Return what metrics say of the scale; nothing where there is none."""
        if not self.scaled:
            return {}
        return {"loss_scale": self.scale, "skipped": self.skipped}

    def state_dict(self) -> dict[str, Any]:
        """Return the scale, its history and the skipped updates."""
        self.note(self.current().tolist())
        return {"skipped": self.skipped, **self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; without a scale in it, from the first one."""
        state = dict(state)
        self.skips.fill_(state.pop("skipped", 0))
        if self.scaled and state:
            state["scale"] = self.fixed or state["scale"]
            self.scaler.load_state_dict(state)
        self.note(self.current().tolist())


def check(name: str, place: Place, *, compiled: bool) -> None:
    """Try on a small network what the flags ask for.

    Raises:
        InvalidArgument: this torch or this device cannot do it.
    """
    if name != "float32":
        try:
            attempt(name, place)
        except RuntimeError as error:
            raise InvalidArgument(
                f"--precision {name}: {place.describe()} cannot: {first_line(error)}; "
                f"choose from {', '.join(PRECISIONS)}"
            ) from error
    if compiled:
        try:
            torch.compile(lambda x: x.sin() + 1)(torch.ones(9, device=place.device))
        except Exception as error:  # of torch's compiler, its back ends or tools
            raise InvalidArgument(
                f"--compile: no working compiler ({first_line(error)}); install g++ "
                "(a GPU needs Triton too), or leave out --compile"
            ) from error


def attempt(name: str, place: Place) -> None:
    """Run layers of the kinds that a model has, forward and backward."""
    layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Flatten()
    with torch.random.fork_rng(devices=[]):
        network = place.hold(nn.Sequential(*layers, nn.Linear(8 * 6 * 6, 4)))
    images, labels = place.put(torch.ones(2, 3, 8, 8), torch.zeros(2).long())
    precision = Precision(name, place.device.type)
    with precision.autocast():
        loss = nn.functional.cross_entropy(network(images), labels)
    precision.backward(loss)
    place.finish()


def first_line(error: Exception) -> str:
    """Return what an error says in its first line, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
