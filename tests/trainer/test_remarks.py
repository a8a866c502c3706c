"""Remarks 1 and 3 of arXiv:1706.02677: what scaling the rate is, and what it is not.

``w <- w - lr * decay * w - (lr / B) * sum(gradients)``, B images on k workers.
"""

import pytest

RATE, DECAY, WORKERS, IMAGES = 0.1, 0.01, 8, 32
GRADIENTS = [[float(worker + i) for i in range(IMAGES)] for worker in range(WORKERS)]


def summed(weight, decay):
    """Each worker divides by all k n images, and the workers' parts are added."""
    rate = WORKERS * RATE
    parts = [sum(own) / (WORKERS * IMAGES) for own in GRADIENTS]
    return weight - rate * (decay * weight + sum(parts))


def cancelled(weight, decay):
    """The k is "cancelled": each divides by its n, the rate is one worker's."""
    parts = [sum(own) / IMAGES for own in GRADIENTS]
    return weight - RATE * (decay * weight + sum(parts))


def test_cancelling_k_changes_the_decay():
    assert summed(1.0, decay=0.0) == pytest.approx(cancelled(1.0, decay=0.0), rel=1e-12)
    difference = cancelled(1.0, DECAY) - summed(1.0, DECAY)
    assert difference == pytest.approx((WORKERS - 1) * RATE * DECAY, rel=1e-9)
