"""Evaluation on all ranks together, exact: each test image counts once.

Correct answers are added as integers, losses in float64; the ranks may hold different
numbers of images.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainer.place import Batch

Autocast = Callable[[], AbstractContextManager[Any]]  # makes the forward pass's context


class Result(NamedTuple):
    """Right answers among ``count`` images, and their summed cross entropy."""

    correct: int
    count: int
    loss_sum: float

    @property
    def top1(self) -> float:
        """Right answers in percent."""
        return 100 * self.correct / self.count

    @property
    def loss(self) -> float:
        """Mean cross entropy, without label smoothing."""
        return self.loss_sum / self.count


def measure(
    model: nn.Module,
    batches: Iterable[Batch],
    comm: Any,
    autocast: Autocast = nullcontext,
    *,
    flip: bool = False,
) -> Result:
    """Return the result on the test images of all ranks.

    ``flip``: average the scores of each image and of its mirror image.
    """
    mine = count_correct(model, batches, autocast, flip=flip)
    counts = comm.allreduce(np.array([mine.correct, mine.count], dtype=np.int64))
    loss = comm.allreduce(np.array([mine.loss_sum], dtype=np.float64))
    return Result(int(counts[0]), int(counts[1]), float(loss[0]))


@torch.no_grad()
def count_correct(
    model: nn.Module,
    batches: Iterable[Batch],
    autocast: Autocast = nullcontext,
    *,
    flip: bool = False,
) -> Result:
    """Return the result on this rank's test images.

    It is added up where the model is: only the end waits for a device.
    """
    model.eval()
    count = 0
    correct: Any = 0
    loss: Any = 0.0
    for images, labels in batches:
        with autocast():
            scores = model(images)
            if flip:
                scores = (scores + model(images.flip(3))) / 2
        count += len(labels)
        correct = correct + (scores.argmax(1) == labels).sum()
        loss = loss + functional.cross_entropy(scores.double(), labels, reduction="sum")
    return Result(int(correct), count, float(loss))
