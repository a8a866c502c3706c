"""Momentum from the noise scale: a larger batch, another momentum.

The noise of an update of B images is about ``lr N / (B (1 - m))``, N being the number
of training images (Smith and Le; used by Smith et al., arXiv:1711.00489).  At one rate
it stays the same with ``B (1 - m)``::

    smith_le      m = 1 - (1 - m0) B0 / B      rises with B
    as_printed    m = 1 - (1 - m0) B / B0      falls with B

Mikami et al. (arXiv:1811.05233) cite that relation but print the second form, with
signs missing in the text.  Both give m0 = 0.9 at B0 = 32,768, so that decides nothing;
the unit of the noise scale and the citation select the first.
"""

from collections.abc import Callable

from collectives import InvalidArgument

LOWEST, HIGHEST = 0.0, 0.99


def smith_le(batch: float, *, reference_batch: float, momentum: float = 0.9) -> float:
    """Return ``1 - (1 - momentum) * reference_batch / batch``.

    >>> round(smith_le(55296, reference_batch=32768), 6)
    0.940741
    """
    return 1 - (1 - momentum) * reference_batch / batch


def as_printed(batch: float, *, reference_batch: float, momentum: float = 0.9) -> float:
    """Return ``1 - (1 - momentum) * batch / reference_batch``."""
    return 1 - (1 - momentum) * batch / reference_batch


READINGS: dict[str, Callable[..., float]] = {
    "smith_le": smith_le,
    "as_printed": as_printed,
}


def momentum(
    reading: str,
    batch: float,
    *,
    reference_batch: float,
    momentum: float = 0.9,
    clip: bool = False,
) -> float:
    """Return the momentum for updates of ``batch`` images; reading "none" keeps it.

    Raises:
        InvalidArgument: it lies outside [0, 0.99], and ``clip`` does not bring it back.
    """
    if reading == "none":
        return momentum
    value = READINGS[reading](batch, reference_batch=reference_batch, momentum=momentum)
    inside = min(max(value, LOWEST), HIGHEST)
    if clip or abs(value - inside) < 1e-12:  # the bounds themselves are valid
        return inside
    raise InvalidArgument(
        f"--noise_scale.reading {reading}: a batch of {batch:g} images would need a "
        f"momentum of {value:.6g}, outside [{LOWEST:g}, {HIGHEST:g}]; scale "
        f"--noise_scale.reference_batch ({reference_batch:g}) as the batch, or add "
        "--noise_scale.clip true"
    )
