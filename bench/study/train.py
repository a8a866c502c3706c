"""Train: one run of the study, alone or as one part of several.

A batch is cut into virtual workers, the ghost batches, and these into microbatches that
stay in the cache; gradients are added, each loss being divided by the total batch.
Where ranks share a run, each has a contiguous part of the workers, and ``reduce`` adds
the gradients: the same sums in another order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from trainer import lr
from trainer.recipe import Recipe

from . import evaluation, net, order, updates
from .arms import ARMS, GHOST, Rates, recipe
from .glyphs import CLASSES, Glyphs

MICROBATCH = 512  # pictures
LAST = 5  # epochs whose errors are taken: Goyal et al. report their median
CHANCE = 100 - 100 / CLASSES  # error in percent of who guesses


@dataclass(frozen=True)
class Run:
    """One run to make."""

    arm: str
    batch: int
    seed: int
    rates: Rates
    epochs: int


@dataclass(frozen=True)
class Outcome:
    """What a run has found; errors in percent."""

    arm: str
    batch: int
    seed: int
    rate: float  # the tuned one
    error: float  # median of ``errors``; that of guessing where it diverged
    errors: list[float]  # of the last epochs
    loss: float | None  # mean training loss of the last epoch
    diverged: bool  # a loss was not finite
    updates: int
    seconds: float


class Learner:
    """A network in training: weights, averages, and the recipe that moves them."""

    def __init__(
        self,
        run: Run,
        *,
        dtype: Any = np.float32,
        part: tuple[int, int] = (0, 1),
        reduce: Callable[[np.ndarray], np.ndarray] = lambda gradient: gradient,
    ):
        """Begin; ``part`` is (rank, ranks), and ``reduce`` adds over the ranks."""
        self.run, self.reduce = run, reduce
        self.recipe: Recipe = recipe(
            run.arm, batch=run.batch, rates=run.rates, epochs=run.epochs
        )
        self.ghost = GHOST * self.recipe.bn.group
        workers, (rank, ranks) = run.batch // self.ghost, part
        bounds = [workers * i // ranks * self.ghost for i in (rank, rank + 1)]
        self.share = slice(*bounds)
        self.micro = max(self.ghost, MICROBATCH // self.ghost * self.ghost)
        zero_gamma = self.recipe.model.zero_gamma
        self.weights = net.begin(run.seed, zero_gamma=zero_gamma, dtype=dtype)
        self.gradient = np.zeros_like(self.weights)
        self.views, self.into = net.views(self.weights), net.views(self.gradient)
        self.decay = net.decays(self.recipe)
        self.state = updates.start(self.weights)
        self.rule = updates.rule(self.recipe)

    def update(self, train: Glyphs, which: np.ndarray, epoch: float) -> float:
        """Make one update at a fractional epoch; return this part's mean loss."""
        self.gradient[:] = 0
        batch, mine, total = len(which), which[self.share], 0.0
        for start in range(0, len(mine), self.micro):
            chosen = mine[start : start + self.micro]
            x = train.images[chosen].astype(self.weights.dtype, copy=False)
            done = net.forward(self.views, x, self.ghost)
            loss, slope = net.cross_entropy(done.scores, train.labels[chosen])
            slope /= batch
            net.backward(self.views, done, slope, self.into)
            total += loss / batch
        gradient = self.reduce(self.gradient)
        span = lr.span_epoch(self.recipe, epoch=epoch, epochs=self.run.epochs)
        rate = lr.rate(self.recipe, batch=batch, epoch=span)
        self.rule(
            self.recipe,
            self.weights,
            gradient,
            self.decay,
            self.state,
            lr=rate,
            epoch=span,
        )
        return total


def train(run: Run, data: tuple[Glyphs, Glyphs]) -> Outcome:
    """Make a run on one process: training and test pictures are ``data``."""
    begin = perf_counter()
    learner, errors, made = Learner(run), [], 0
    with np.errstate(over="ignore", invalid="ignore"):
        for epoch in range(run.epochs):
            losses = walk(learner, data[0], epoch)
            made += len(losses)
            if diverged := not np.isfinite(losses[-1]):
                break
            if epoch >= run.epochs - LAST:
                error = evaluation.error(learner.views, *data, ghost=learner.ghost)
                errors.append(error)
    return Outcome(
        arm=run.arm,
        batch=run.batch,
        seed=run.seed,
        rate=run.rates.lars if run.arm == "M7" else run.rates.sgd,
        error=CHANCE if diverged else median(errors),
        errors=errors,
        loss=None if diverged else float(np.mean(losses)),
        diverged=diverged,
        updates=made,
        seconds=round(perf_counter() - begin, 2),
    )


def walk(learner: Learner, pictures: Glyphs, epoch: int) -> list[float]:
    """Make the updates of an epoch; return the losses, to the first not finite one."""
    run = learner.run
    plan = order.batches(
        len(pictures.labels),
        run.batch,
        seed=run.seed,
        epoch=epoch,
        independent=ARMS[run.arm].independent,
    )
    losses = []
    for i, which in enumerate(plan):
        losses.append(learner.update(pictures, which, epoch + i / len(plan)))
        if not np.isfinite(losses[-1]):
            break
    return losses
