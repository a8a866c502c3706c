"""The optimisers' formulas in float64 NumPy, one tensor and one update at a time.

Each takes weights, gradient, the tensor's own memory (a dictionary, at first empty) and
the options of the update, and returns the new weights.
"""

from math import sqrt

import numpy as np


def norm(x):
    return sqrt(float(np.sum(x * x)))


def u_momentum(w, g, own, *, lr, momentum, weight_decay, nesterov=False):
    g = g + weight_decay * w
    own["u"] = momentum * own.get("u", 0.0) + g
    return w - lr * (g + momentum * own["u"] if nesterov else own["u"])


def v_momentum(
    w, g, own, *, lr, momentum, weight_decay, nesterov=False, corrected=True
):
    g = g + weight_decay * w
    ratio = lr / own.get("lr", lr) if corrected else 1.0
    own["v"] = momentum * ratio * own.get("v", 0.0) + lr * g
    own["lr"] = lr
    return w - (lr * g + momentum * own["v"] if nesterov else own["v"])


def trust(w, g, *, coefficient, eps, eps_rule, weight_decay):
    below = norm(g) + weight_decay * norm(w)
    if eps_rule == "threshold":
        below += eps if below < eps else 0.0
        return 1.0 if norm(w) < eps else coefficient * norm(w) / below
    if norm(w) == 0 or norm(g) == 0:
        return 1.0
    return coefficient * norm(w) / (below + eps)


def lars(
    w, g, own, *, lr, momentum, weight_decay, form="v", decay_in="update",
    coefficient=0.001, eps=0.0, eps_rule="denominator", skip=False,
):  # fmt: skip
    if decay_in == "loss":
        g = g + weight_decay * w
    ratio = 1.0
    if not skip:
        ratio = trust(w, g, coefficient=coefficient, eps=eps, eps_rule=eps_rule,
                      weight_decay=weight_decay)  # fmt: skip
        if decay_in == "update":
            g = g + weight_decay * w
    inside = {"v": lr * ratio, "u": 1.0, "hybrid": ratio}[form]
    outside = {"v": 1.0, "u": lr * ratio, "hybrid": lr}[form]
    own["average"] = momentum * own.get("average", 0.0) + inside * g
    return w - outside * own["average"]


def rmsprop_warmup(
    w, g, own, *, lr, epoch, weight_decay=0.0, momentum=0.9, decay=0.99, eps=1e-8,
    lr_rmsprop=3e-4, center=10.0, period=5.0,
):  # fmt: skip
    g = g + weight_decay * w
    if epoch < center:
        of_sgd = 0.5 * np.exp(2 * (epoch - center) / period)
    else:
        of_sgd = 0.5 + (epoch - center) / period if epoch < center + period / 2 else 1.0
    of_rmsprop = (1 - of_sgd) * lr_rmsprop / lr
    own["M"] = decay * own.get("M", 0.0) + (1 - decay) * g * g
    weight = of_sgd + of_rmsprop / (np.sqrt(own["M"]) + eps)
    own["D"] = momentum * own.get("D", 0.0) - weight * g
    return w + lr * own["D"]


def lamb(w, g, own, *, lr, weight_decay, beta1=0.9, beta2=0.999, eps=1e-6, skip=False):
    own["t"] = own.get("t", 0) + 1
    own["m"] = beta1 * own.get("m", 0.0) + (1 - beta1) * g
    own["v"] = beta2 * own.get("v", 0.0) + (1 - beta2) * g * g
    r = own["m"] / (1 - beta1 ** own["t"])
    r = r / (np.sqrt(own["v"] / (1 - beta2 ** own["t"])) + eps)
    if skip:
        return w - lr * r
    r = r + weight_decay * w
    ratio = norm(w) / norm(r) if norm(w) > 0 and norm(r) > 0 else 1.0
    return w - lr * ratio * r
