"""Evaluation on all ranks together, exact: each test image counts once.

Correct answers are added as integers, losses in float64; the ranks may hold different
numbers of images.
"""

import statistics
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainer import bn, recompute
from trainer.dataset import skipped
from trainer.place import Batch
from trainer.training import Training

NAMED = 20  # files at most
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


def evaluate(run: Training) -> None:
    """Evaluate a run where it is, and tell the result; all ranks together."""
    begin = perf_counter()
    with run.trace.span("evaluation"):
        result = result_of(run)
    run.result = {"top1": result.top1, "loss": result.loss}
    run.recorder.event(
        "eval",
        **run.where,
        correct=result.correct,
        count=result.count,
        seconds=perf_counter() - begin,
        **run.result,
        **unreadable(run),
    )


def median(run: Training) -> dict[str, float]:
    """Return the median of the last epochs, where the recipe's source tells that.

    Of a run that was not finished there is none.
    """
    values = run.settings.recipe
    last = list(run.top1.values())[-values.published.median_of :]
    if values.published.median_of == 1 or values.epochs not in run.top1:
        return {}
    return {"top1_median": statistics.median(last), "top1_median_of": len(last)}


def result_of(run: Training) -> Result:
    """Return the result of the network, or of the averages of its weights."""
    bn.synchronise(run.averages, run.comm)
    model = run.model
    if run.ema is not None:
        bn.synchronise(run.ema.averages, run.comm)
        model = run.ema.model
    recomputed = run.settings.recipe.bn.evaluate == "recompute"
    with recompute.statistics(run, model) if recomputed else nullcontext():
        return measure(
            model,
            run.test_batches,
            run.comm,
            run.precision.autocast,
            flip=run.settings.recipe.images.test_flip,
        )


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


def unreadable(run: Training) -> dict[str, Any]:
    """Count the images that any rank has met and skipped, and name the first of them.

    All ranks together.
    """
    if run.settings.data_errors == "refuse":
        return {}
    files = [path for part in run.datasets for path in skipped(part, run.comm)]
    return {"unreadable": len(files), "unreadable_files": files[:NAMED]}
