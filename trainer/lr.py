"""Learning rates: pure functions of the position in a run.

``epoch`` is fractional and counts from 0, in epochs of the recipe's own span: a run of
12 epochs of a 90-epoch recipe is at 45 when half of it is done (`span_epoch`).  So a
shorter run keeps the shape, and nothing here knows of iterations, ranks or data.

A recipe's rate is a composition (`rate`): the rate of the reference batch, scaled with
the batch (`peak`); a warm-up, where it starts below; then a shape.  ``x`` is the part
of the shape that is done, in [0, 1].
"""

from bisect import bisect_right
from math import cos, floor, pi, sqrt

from trainer.recipe import IMAGENET, Recipe


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


def piecewise(
    epoch: float, *, drops: tuple[float, ...], factors: tuple[float, ...]
) -> float:
    """Return the multiplier of the piece that ``epoch`` is in: one more than drops.

    >>> piecewise(40, drops=(40, 70), factors=(0.5, 0.075, 0.01))
    0.075
    """
    return factors[bisect_right(drops, epoch)]


def poly(x: float, *, power: float) -> float:
    """Return the multiplier ``(1 - x) ** power``; power 1 is linear to zero."""
    return float((1 - min(x, 1.0)) ** power)


def cosine(x: float) -> float:
    """Return the multiplier ``(1 + cos(pi x)) / 2``, from 1 to 0."""
    return (1 + cos(pi * min(x, 1.0))) / 2


def whole_step_part(step: int, *, warmup_steps: int, steps: int) -> float:
    """Return x as tensorflow/tpu counts it, by updates (lars_util.py at f4fa4d7).

    The update after the warm-up is number 1 of ``steps - warmup_steps + 1``.
    """
    return max(1, step - warmup_steps) / (steps - warmup_steps + 1)


def span_epoch(recipe: Recipe, *, epoch: float, epochs: float) -> float:
    """Return where a run of ``epochs`` is at ``epoch``, in the recipe's own epochs."""
    return recipe.lr.span_epochs * epoch / epochs


def base(recipe: Recipe, epoch: float) -> float:
    """Return the reference batch's rate that the shape multiplies at ``epoch``."""
    past = [lr for start, lr in recipe.lr.jumps if start <= epoch]
    return past[-1] if past else recipe.optimizer.lr


def peak(recipe: Recipe, *, batch: int, epoch: float = 0.0) -> float:
    """Return that rate for updates of ``batch`` images, by the recipe's scaling rule.

    "sqrt" multiplies by the root of the ratio of batches; "none" leaves the rate.
    """
    value, reference = base(recipe, epoch), recipe.lr.reference_batch
    if recipe.lr.scaling == "linear":
        return scaled(value, batch=batch, reference_batch=reference)
    return value * (sqrt(batch / reference) if recipe.lr.scaling == "sqrt" else 1.0)


def rate(recipe: Recipe, *, batch: int, epoch: float) -> float:
    """Return the rate of an update made at ``epoch`` of the span.

    ``batch`` is the total batch with which the run began: where it changes later, the
    rate does not.  The warm-up climbs from ``lr.warmup_start`` to the peak; a peak that
    is not above has none.
    """
    values = recipe.lr
    x = part(recipe, epoch)
    if values.whole_steps:
        per_epoch = IMAGENET / values.reference_batch
        step = floor(epoch * per_epoch + 1e-6)
        epoch = step / per_epoch
        x = whole_step_part(
            step,
            warmup_steps=floor(values.warmup_epochs * per_epoch),
            steps=floor(values.span_epochs * per_epoch),
        )
    top = peak(recipe, batch=batch, epoch=epoch)
    start = values.warmup_start
    start = recipe.optimizer.lr if start is None else start
    if epoch < values.warmup_epochs and start < top:
        return warmup(start, top, epoch=epoch, epochs=values.warmup_epochs)
    return shape(recipe, top, epoch=epoch, x=x)


def part(recipe: Recipe, epoch: float) -> float:
    """Return how much of the shape is done at ``epoch``, from 0 to 1."""
    values = recipe.lr
    origin = values.warmup_epochs if values.origin == "warmup" else 0.0
    return max(0.0, epoch - origin) / (values.span_epochs - origin)


def shape(recipe: Recipe, top: float, *, epoch: float, x: float) -> float:
    """Return the rate of the recipe's shape, ``top`` being its highest."""
    values = recipe.lr
    if values.shape == "steps":
        if values.factors:
            return top * piecewise(epoch, drops=values.drops, factors=values.factors)
        return top * steps(epoch, drops=values.drops, factor=values.factor)
    if values.shape == "constant":
        return top
    left = cosine(x) if values.shape == "cosine" else poly(x, power=values.power)
    return values.end + (top - values.end) * left
