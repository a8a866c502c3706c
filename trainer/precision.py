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
        self, name: str, device_type: str, *, first_scale: float | None = None
    ):
        """Begin with ``first_scale``; None: 65,536 with float16, else no scale."""
        self.name, self.device_type = name, device_type
        self.scaler = torch.amp.GradScaler(
            device_type,
            init_scale=first_scale or 65536.0,
            enabled=name == "float16" or first_scale is not None,
        )
        self.one = torch.ones((), device=device_type)
        self.scale = self.scaler.get_scale()  # of the last update that was read
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
        self.scaler.step(optimizer)
        self.scaler.update()

    def current(self) -> Tensor:
        """Return the scale where it is, on the device."""
        return self.scaler.scale(self.one)

    def note(self, scale: float) -> None:
        """Take down the scale after an update; a lower one tells that it was skipped.

        Each update has to be noted, in order, if later than it was made.
        """
        self.skipped += scale < self.scale
        self.scale = scale

    def told(self) -> dict[str, float]:
        """Return what metrics say of the scale; nothing where there is none."""
        if not self.scaled:
            return {}
        return {"loss_scale": self.scale, "skipped": self.skipped}

    def state_dict(self) -> dict[str, Any]:
        """Return the scale, its history and the skipped updates."""
        self.note(self.scaler.get_scale())
        return {"skipped": self.skipped, **self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; without a scale in it, from the first one."""
        state = dict(state)
        self.skipped = state.pop("skipped", 0)
        if self.scaled and state:
            self.scaler.load_state_dict(state)
        self.scale = self.scaler.get_scale()


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
