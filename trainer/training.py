"""Training: all parts of a run, and where it is.

`trainer.start` makes one, `trainer.loop` moves it on, and whoever reads or changes a
part of it takes it as ``run``.  The position is (epoch, samples_seen): all else that
depends on it follows from these two.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from trainer import phases
from trainer.averages import Averages
from trainer.dataset import Dataset
from trainer.ema import Ema
from trainer.interrupt import Interrupt
from trainer.phases import Phase
from trainer.place import Batch, Place
from trainer.precision import Precision
from trainer.record import Recorder
from trainer.reducer import Reducer
from trainer.sampler import Sampler
from trainer.settings import Settings
from trainer.stragglers import Stragglers
from trainer.trace import OFF, Off, Trace


@dataclass
class Training:
    """All parts of a run, and where it is."""

    comm: Any
    settings: Settings
    model: nn.Module
    averages: Averages
    optimizer: torch.optim.Optimizer
    reducer: Reducer
    phases: list[Phase]
    sampler: Sampler
    datasets: tuple[Dataset, Dataset]  # to train on, and to test on
    batches: Iterable[Batch]
    test_batches: Iterable[Batch]
    place: Place
    precision: Precision
    recorder: Recorder
    interrupt: Interrupt
    stragglers: Stragglers
    trace: Trace | Off = OFF
    ema: Ema | None = None
    spans: dict[int, Any] = field(default_factory=dict)  # by size: `trainer.span`
    span: Any = None  # ranks that normalise together now; None: each alone
    epoch: int = 0
    samples_seen: int = 0  # of this epoch, by all ranks
    step: int = 0  # updates since the first epoch
    updates: int = 0  # made by this process and its peers
    images: int = 0  # in these
    seconds: float = 0.0  # spent in updates
    interrupted: bool = False  # a signal reached some rank
    result: dict[str, float] = field(default_factory=dict)  # of the last evaluation
    top1: dict[int, float] = field(default_factory=dict)  # after so many epochs

    @property
    def epochs_done(self) -> float:
        """Epochs since the first, with the part of this one."""
        return self.epoch + self.samples_seen / self.sampler.usable

    @property
    def where(self) -> dict[str, float]:
        """The place in the run, as every event tells it."""
        done = self.epochs_done
        return {"epoch": self.epoch, "epochs_done": done, "step": self.step}

    @property
    def phase(self) -> Phase:
        """The phase that this epoch is in."""
        return phases.of_epoch(self.settings.recipe, self.phases, self.epoch)
