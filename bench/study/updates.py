"""Updates: the recipes' optimisers on one vector of weights, in NumPy.

    sgd, u            u <- m u + g;  w <- w - lr u
    sgd, v            v <- m v + lr g;  w <- w - v, not corrected where lr changes
    lars, v           v <- m v + lr trust (g + decay w);  w <- w - v
    rmsprop_warmup    M <- mu M + (1 - mu) g^2
                      D <- m D - (a_SGD + a_RMS / (sqrt(M) + eps)) g;  w <- w + lr D

``g`` contains ``decay w``, but in LARS.  The rules and their sources are those of
`trainer.optimizers`, where torch does the work; M and D begin at 0.
"""

from collections.abc import Callable

import numpy as np

from collectives import InvalidArgument
from trainer.recipe import Recipe
from trainer.transition import a_sgd

from . import net

State = dict[str, np.ndarray]
Rule = Callable[..., None]


def start(weights: np.ndarray) -> State:
    """Return the averages that an update needs, at 0."""
    return {"average": np.zeros_like(weights), "square": np.zeros_like(weights)}


def rule(recipe: Recipe) -> Rule:
    """Return the update of a recipe: ``(recipe, w, g, decay, state, lr=, epoch=)``.

    It changes weights, gradient and state.  ``epoch`` is in the recipe's own span.

    Raises:
        InvalidArgument: the recipe's optimiser has none here.
    """
    kind = recipe.optimizer.kind, recipe.optimizer.form
    if kind not in RULES or recipe.optimizer.nesterov:
        raise InvalidArgument(
            f"study: no NumPy update for optimizer {kind}, nesterov "
            f"{recipe.optimizer.nesterov}; expected one of {sorted(RULES)} without"
        )
    return RULES[kind]


def momentum_u(
    recipe: Recipe,
    weights: np.ndarray,
    gradient: np.ndarray,
    decay: np.ndarray,
    state: State,
    *,
    lr: float,
    epoch: float,
) -> None:
    """Keep the rate outside the average."""
    average = state["average"]
    gradient += decay * weights
    average *= recipe.optimizer.momentum
    average += gradient
    weights -= lr * average


def momentum_v(
    recipe: Recipe,
    weights: np.ndarray,
    gradient: np.ndarray,
    decay: np.ndarray,
    state: State,
    *,
    lr: float,
    epoch: float,
) -> None:
    """Keep the rate inside the average, as programs did that forgot to correct it."""
    average = state["average"]
    gradient += decay * weights
    average *= recipe.optimizer.momentum
    average += lr * gradient
    weights -= average


def lars(
    recipe: Recipe,
    weights: np.ndarray,
    gradient: np.ndarray,
    decay: np.ndarray,
    state: State,
    *,
    lr: float,
    epoch: float,
) -> None:
    """Give each tensor its rate: ``c |w| / (|g| + decay |w| + eps)``, or 1."""
    average = state["average"]
    average *= recipe.optimizer.momentum
    for tensor in net.TENSORS.values():
        part = slice(tensor.start, tensor.stop)
        w, g, share = weights[part], gradient[part], float(decay[tensor.start])
        size, slope = float(np.linalg.norm(w)), float(np.linalg.norm(g))
        trust = 1.0
        if size > 0 and slope > 0:
            below = slope + share * size + recipe.lars.eps
            trust = recipe.lars.coefficient * size / below
        average[part] += lr * trust * (g + share * w)
    weights -= average


def rmsprop_warmup(
    recipe: Recipe,
    weights: np.ndarray,
    gradient: np.ndarray,
    decay: np.ndarray,
    state: State,
    *,
    lr: float,
    epoch: float,
) -> None:
    """Go from RMSprop to SGD as the epochs pass."""
    config = recipe.rmsprop
    average, square = state["average"], state["square"]
    gradient += decay * weights
    of_sgd = a_sgd(
        epoch,
        center=config.centre_epoch,
        period=config.period_epochs,
        as_printed=config.transition == "as_printed",
    )
    average *= recipe.optimizer.momentum
    average -= of_sgd * gradient
    if of_sgd < 1:
        square *= config.decay
        square += (1 - config.decay) * gradient**2
        of_rmsprop = (1 - of_sgd) * config.lr / lr
        average -= of_rmsprop * gradient / (np.sqrt(square) + config.eps)
    weights += lr * average


RULES: dict[tuple[str, str], Rule] = {
    ("sgd", "u"): momentum_u,
    ("sgd", "v"): momentum_v,
    ("lars", "v"): lars,
    ("rmsprop_warmup", "u"): rmsprop_warmup,
}
