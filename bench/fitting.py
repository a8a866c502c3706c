"""Fitting: the link by which a model explains measured times best.

Best is the least sum of squared relative errors: sizes from 4 bytes to megabytes then
count alike.
"""

from collections.abc import Callable, Sequence

import numpy as np

from collectives import Link

STEPS = (4.0, 2.0, 1.4, 1.1, 1.03, 1.01)  # factors by which a part is varied
MOST_ROUNDS = 100  # with each of them


def line(sizes: Sequence[int], seconds: Sequence[float]) -> Link:
    """Fit ``alpha + n beta``; neither part is negative."""
    times = np.asarray(seconds)
    columns = (
        np.stack([np.ones(len(sizes)), np.asarray(sizes)], axis=1) / times[:, None]
    )
    one = np.ones(len(sizes))
    alpha, beta = np.linalg.lstsq(columns, one, rcond=None)[0].tolist()
    if alpha < 0:
        alpha, beta = 0.0, (columns[:, 1] @ one) / (columns[:, 1] @ columns[:, 1])
    if beta < 0:
        alpha, beta = (columns[:, 0] @ one) / (columns[:, 0] @ columns[:, 0]), 0.0
    return Link(float(alpha), float(beta))


def model(
    predict: Callable[[Link, int], float],
    sizes: Sequence[int],
    seconds: Sequence[float],
    start: Link,
) -> Link:
    """Fit ``predict(link, nbytes)``, whatever its form, from a link nearby.

    Both parts of ``start`` are above 0, and stay so: factors are all that is tried.
    """

    def error(link: Link) -> float:
        return sum(
            (predict(link, n) / took - 1) ** 2
            for n, took in zip(sizes, seconds, strict=True)
        )

    best = start
    for step in STEPS:
        for _ in range(MOST_ROUNDS):
            tried = [
                Link(best.alpha * a, best.beta * b)
                for a in (1 / step, 1.0, step)
                for b in (1 / step, 1.0, step)
            ]
            found = min(tried, key=error)
            if error(found) >= error(best):
                break
            best = found
    return best
