"""The weight of SGD in RMSprop warm-up: a pure function of the epoch.

T. Akiba, S. Suzuki, K. Fukuda: Extremely large minibatch SGD: training ResNet-50 on
ImageNet in 15 minutes.  arXiv:1711.04325.
"""

from math import exp


def a_sgd(
    epoch: float, *, center: float, period: float, as_printed: bool = False
) -> float:
    """Return the weight of SGD at a fractional epoch: 0.5 at ``center``, then to 1.

    Exponential before the center, linear after it, 1 from ``center + period / 2`` on;
    value and slope are continuous at the center.  The paper prints twice that slope,
    which is above 1 from ``center + period / 4`` on; ``as_printed`` takes it, but
    ends at 1.

    >>> [a_sgd(epoch, center=10, period=5) for epoch in (10, 11.25, 12.5, 90)]
    [0.5, 0.75, 1.0, 1.0]
    """
    position = (epoch - center) / period
    if position < 0:
        return 0.5 * exp(2 * position)
    return min(1.0, 0.5 + (2 if as_printed else 1) * position)
