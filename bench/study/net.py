"""Network: a small residual net on vectors, forward and backward by hand.

    stem    Linear 576-64, BN, ReLU
    block   x <- ReLU(x + BN(Linear(ReLU(BN(Linear(x))))))      4 of them, 64 wide
    fc      Linear 64-20 with bias

It is ResNet's plan without its convolutions: 72,084 parameters.  Batch normalisation
sees ``ghost`` pictures at a time, whatever the batch (P. Goyal et al.,
arXiv:1706.02677, section 2.3, where a worker has 32).  So a batch may be cut into
microbatches whose gradients are added: virtual workers.

All weights lie in one vector, and so do their gradients.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from trainer.recipe import Recipe
from trainer.sampler import generator

from .glyphs import CLASSES, PIXELS

WIDTH, BLOCKS = 64, 4
LINEAR = ("stem", *(f"block{i}.{part}" for i in range(BLOCKS) for part in "ab"))
EPS = 1e-5  # of batch normalisation
FC_STD = 0.01


class Tensor(NamedTuple):
    """One tensor of the vector: its shape, place, and whether it is a matrix."""

    shape: tuple[int, ...]
    start: int
    stop: int
    kind: str  # "linear", "norm" or "bias"


def _tensors() -> Iterator[tuple[str, Tensor]]:
    place = 0
    plan: list[tuple[str, tuple[int, ...], str]] = []
    for name in LINEAR:
        inputs = PIXELS if name == "stem" else WIDTH
        plan.append((name, (inputs, WIDTH), "linear"))
        plan += [(f"{name}.{part}", (WIDTH,), "norm") for part in ("gamma", "beta")]
    plan += [("fc", (WIDTH, CLASSES), "linear"), ("fc.bias", (CLASSES,), "bias")]
    for name, shape, kind in plan:
        stop = place + int(np.prod(shape))
        yield name, Tensor(shape, place, stop, kind)
        place = stop


TENSORS = dict(_tensors())
COUNT = TENSORS["fc.bias"].stop
Views = dict[str, np.ndarray]


def views(vector: np.ndarray) -> Views:
    """Return the tensors of a vector, by name; they share its memory."""
    return {
        name: vector[t.start : t.stop].reshape(t.shape) for name, t in TENSORS.items()
    }


def begin(seed: int, *, zero_gamma: bool, dtype: Any = np.float32) -> np.ndarray:
    """Return a run's first weights: He's for matrices, N(0, 0.01^2) for the last one.

    ``zero_gamma``: 0, not 1, in the last normalisation of each block.
    """
    random = generator(seed, 0, 0)
    vector = np.zeros(COUNT, dtype)
    for name, tensor in views(vector).items():
        if TENSORS[name].kind == "linear":
            std = FC_STD if name == "fc" else np.sqrt(2 / len(tensor))
            tensor[...] = std * random.standard_normal(tensor.shape)
        elif name.endswith("gamma") and not (zero_gamma and name.endswith("b.gamma")):
            tensor[...] = 1
    return vector


def decays(recipe: Recipe) -> np.ndarray:
    """Return each weight's decay, by the recipe's rules."""
    config = recipe.optimizer
    which = {"linear": True, "norm": config.decay_bn, "bias": config.decay_fc_bias}
    vector = np.zeros(COUNT, np.float32)
    for tensor in TENSORS.values():
        if which[tensor.kind]:
            vector[tensor.start : tensor.stop] = config.weight_decay
    return vector


class Normed(NamedTuple):
    """What the backward pass of a normalisation needs."""

    centred: np.ndarray  # (ghosts, ghost, width)
    inverse: np.ndarray  # (ghosts, width), of the standard deviation
    mean: np.ndarray  # (ghosts, width)
    var: np.ndarray  # (ghosts, width)


def normalise(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, ghost: int
) -> tuple[np.ndarray, Normed]:
    """Return ``gamma * (x - mean) / std + beta``, mean and std of each ghost batch."""
    groups = x.reshape(-1, ghost, x.shape[1])
    mean = sums(groups) / x.dtype.type(ghost)
    centred = groups - mean[:, None]
    var = np.einsum("gnc,gnc->gc", centred, centred) / x.dtype.type(ghost)
    inverse = 1 / np.sqrt(var + x.dtype.type(EPS))
    out = centred * (gamma * inverse)[:, None]
    out += beta
    return out.reshape(x.shape), Normed(centred, inverse, mean, var)


def normalise_back(
    dy: np.ndarray, gamma: np.ndarray, kept: Normed
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of input, gamma and beta."""
    groups = dy.reshape(kept.centred.shape)
    total = sums(groups)
    along = np.einsum("gnc,gnc->gc", groups, kept.centred)
    n = dy.dtype.type(groups.shape[1])
    dx = kept.centred * (along * kept.inverse**2 / -n)[:, None]
    dx += groups
    dx -= (total / n)[:, None]
    dx *= (gamma * kept.inverse)[:, None]
    return dx.reshape(dy.shape), (along * kept.inverse).sum(0), total.sum(0)


def sums(groups: np.ndarray) -> np.ndarray:
    """Return the sums over the middle axis; by a product, five times as fast."""
    return (np.ones((1, groups.shape[1]), groups.dtype) @ groups)[:, 0]


class Pass(NamedTuple):
    """A forward pass: scores, what went into each matrix, and the normalisations."""

    scores: np.ndarray
    inputs: Views
    normed: dict[str, Normed]


def forward(weights: Views, x: np.ndarray, ghost: int) -> Pass:
    """Return scores of shape ``(pictures, 20)``, normalised by ghost batches."""
    inputs: Views = {}
    normed: dict[str, Normed] = {}

    def layer(name: str, x: np.ndarray) -> np.ndarray:
        inputs[name] = x
        gamma, beta = weights[f"{name}.gamma"], weights[f"{name}.beta"]
        out, normed[name] = normalise(x @ weights[name], gamma, beta, ghost)
        return out

    x = layer("stem", x)
    np.maximum(x, 0, out=x)
    for i in range(BLOCKS):
        inner = layer(f"block{i}.a", x)
        np.maximum(inner, 0, out=inner)
        inner = layer(f"block{i}.b", inner)
        inner += x
        x = np.maximum(inner, 0, out=inner)
    inputs["fc"] = x
    return Pass(x @ weights["fc"] + weights["fc.bias"], inputs, normed)


def backward(weights: Views, done: Pass, dscores: np.ndarray, into: Views) -> None:
    """Add the gradients of all weights to ``into``."""
    inputs = done.inputs

    def layer(name: str, dy: np.ndarray) -> np.ndarray:
        gamma = weights[f"{name}.gamma"]
        dz, dgamma, dbeta = normalise_back(dy, gamma, done.normed[name])
        into[f"{name}.gamma"] += dgamma
        into[f"{name}.beta"] += dbeta
        into[name] += inputs[name].T @ dz
        return dz

    into["fc"] += inputs["fc"].T @ dscores
    into["fc.bias"] += dscores.sum(0)
    dx = dscores @ weights["fc"].T
    after = inputs["fc"]
    for i in reversed(range(BLOCKS)):
        dx *= after > 0
        inner = layer(f"block{i}.b", dx) @ weights[f"block{i}.b"].T
        inner *= inputs[f"block{i}.b"] > 0
        dx += layer(f"block{i}.a", inner) @ weights[f"block{i}.a"].T
        after = inputs[f"block{i}.a"]
    dx *= after > 0
    layer("stem", dx)


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the summed cross entropy and its gradient with respect to the scores."""
    scores = scores - scores.max(1, keepdims=True)
    chances = np.exp(scores)
    totals = chances.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(np.log(totals).sum() - scores[rows, labels].sum())
    chances /= totals
    chances[rows, labels] -= 1
    return loss, chances
