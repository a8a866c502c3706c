"""Patience: the only code that waits, and how."""

import os
import time
from collections.abc import Callable, Iterable
from numbers import Real

from .errors import InvalidArgument, Stalled


def limit(timeout_s: float) -> float:
    """Return a time to wait, checked.

    Raises:
        InvalidArgument: it is no number, or none above 0.
    """
    if not isinstance(timeout_s, Real) or not timeout_s > 0:
        raise InvalidArgument(
            f"timeout_s={timeout_s!r}: expected seconds above 0 (math.inf: no limit)"
        )
    return float(timeout_s)


class Patience:
    """How to wait: yield the core at once, after a while sleep; never for ever.

    Where ranks outnumber cores, who spins keeps from running whom it waits for.
    ``background``, for a thread beside a computation: sleep at once, leave it the core.
    ``alarm(late)`` is called now and then in a long wait; it may raise.
    """

    YIELDS, NAP_S, LONGEST_S, ALARM_S = 2000, 5e-5, 2e-3, 0.05
    LOOKS = 16  # at the iterator for one at the clock, before it sleeps

    def __init__(
        self,
        timeout_s: float,
        *,
        background: bool = False,
        alarm: Callable[[bool], None] | None = None,
    ) -> None:
        """Wait at most ``timeout_s`` seconds without progress."""
        self.timeout_s, self.alarm = timeout_s, alarm
        self.begin = self.YIELDS if background else 0
        self.idle, self.last, self.deadline, self.ring = self.begin, -1, 0.0, 0.0

    def drive(self, progress: Iterable[int]) -> None:
        """Run an iterator, which yields how far it is, to its end.

        Raises:
            Stalled: the time was up, and ``alarm`` has not raised something better.
        """
        self.idle, self.last, self.deadline = self.begin, -1, 0.0
        for done in progress:
            self.observe(done)
            naps = self.idle - self.YIELDS
            if naps > 0:
                time.sleep(min(self.NAP_S * naps, self.LONGEST_S))
            else:
                os.sched_yield()

    def observe(self, done: int) -> None:
        """Note how far a waiting iterator is, without waiting.

        Raises:
            Stalled: as `drive`.
        """
        if done != self.last:
            self.idle, self.last, self.deadline = self.begin, done, 0.0
        self.idle += 1
        if self.idle < self.YIELDS and self.idle % self.LOOKS:
            return
        now = time.monotonic()
        if not self.deadline:
            self.deadline, self.ring = now + self.timeout_s, now + self.ALARM_S
        late = now > self.deadline
        if (late or now > self.ring) and self.alarm is not None:
            self.ring = now + self.ALARM_S
            self.alarm(late)
        if late:
            raise Stalled(f"no progress within {self.timeout_s:g} s")
