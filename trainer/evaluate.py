"""Evaluation on all ranks together, exact: each test image counts once.

Correct answers are added as integers, losses in float64; the ranks may hold different
numbers of images.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader


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


def measure(model: nn.Module, batches: DataLoader, comm: Any) -> Result:
    """Return the result on the test images of all ranks."""
    mine = count_correct(model, batches)
    counts = comm.allreduce(np.array([mine.correct, mine.count], dtype=np.int64))
    loss = comm.allreduce(np.array([mine.loss_sum], dtype=np.float64))
    return Result(int(counts[0]), int(counts[1]), float(loss[0]))


@torch.no_grad()
def count_correct(model: nn.Module, batches: DataLoader) -> Result:
    """Return the result on this rank's test images."""
    model.eval()
    correct = count = 0
    loss = 0.0
    for images, labels in batches:
        scores = model(images)
        correct += int((scores.argmax(1) == labels).sum())
        count += len(labels)
        loss += float(
            functional.cross_entropy(scores.double(), labels, reduction="sum")
        )
    return Result(correct, count, loss)
