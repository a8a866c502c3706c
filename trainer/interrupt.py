"""Interrupt: stop on a signal, after the step in progress."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXIT_USAGE = 2  # a bad flag, recipe, data set or checkpoint: nothing was started
EXIT_INTERRUPTED = 75  # a signal; a checkpoint was saved (EX_TEMPFAIL of sysexits.h)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupt:
    """Whether a signal asked this process to stop; a second SIGINT stops at once."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.requested = False

    def watch(self) -> None:
        """Catch SIGINT, SIGTERM and SIGUSR1 from now on."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def shield() -> Iterator[None]:
    """Have the processes that are started inside ignore the signals.

    A launcher sends them to all processes: a loading process that died of one would
    take the last update with it.
    """
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def ignore(worker: int = 0) -> None:
    """Ignore the signals in a loading process, where torch has set SIGTERM anew."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
