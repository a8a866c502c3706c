"""Learning rates: pure functions of the position in a run.

``epoch`` is fractional and counts from 0, in epochs of the recipe's own span: a run of
12 epochs of a 90-epoch recipe is at 45 when half of it is done (`span_epoch`).  So a
shorter run keeps the shape, and nothing here knows of iterations, ranks or data.
"""

from bisect import bisect_right

from trainer.recipe import Recipe


def scaled(lr: float, *, batch: int, reference_batch: int) -> float:
    """Return the rate of a total batch by the linear scaling rule.

    Goyal et al., arXiv:1706.02677, section 2.1: k times the batch, k times the rate.

    >>> scaled(0.1, batch=8192, reference_batch=256)
    3.2
    """
    return lr * batch / reference_batch


def warmup(start: float, stop: float, *, epoch: float, epochs: float) -> float:
    """Return the gradual warm-up's rate, ``start + (stop - start) * epoch / epochs``.

    The increment is the same at every iteration (arXiv:1706.02677, section 2.2).
    """
    return start + (stop - start) * epoch / epochs


def steps(epoch: float, *, drops: tuple[float, ...], factor: float) -> float:
    """Return the multiplier ``factor ** n``, n drops being at or before ``epoch``."""
    return factor ** bisect_right(drops, epoch)


def span_epoch(recipe: Recipe, *, epoch: float, epochs: float) -> float:
    """Return where a run of ``epochs`` is at ``epoch``, in the recipe's own epochs."""
    return recipe.lr.span_epochs * epoch / epochs


def rate(recipe: Recipe, *, batch: int, epoch: float) -> float:
    """Return the rate of an update of ``batch`` images made at ``epoch`` of the span.

    The warm-up starts from the rate of the reference batch, and is only for batches
    larger than that.
    """
    base, reference = recipe.optimizer.lr, recipe.lr.reference_batch
    peak = scaled(base, batch=batch, reference_batch=reference)
    if batch > reference and epoch < recipe.lr.warmup_epochs:
        return warmup(base, peak, epoch=epoch, epochs=recipe.lr.warmup_epochs)
    return peak * steps(epoch, drops=recipe.lr.drops, factor=recipe.lr.factor)
