"""End well: stop on a signal after the step in progress, and never leave ranks alone.

An exception that leaves one rank's ``python -m trainer.run`` would have the others wait
for it for ever.  `abort_on_exception` ends the whole job instead, within seconds.
"""

import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXIT_USAGE = 2  # a bad flag, recipe, data set or checkpoint: nothing was started
EXIT_ABORTED = 1  # an exception; its traceback was printed
EXIT_INTERRUPTED = 75  # a signal; a checkpoint was saved (EX_TEMPFAIL of sysexits.h)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
HEAD_START_S = 0.5


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


def abort_on_exception() -> None:
    """Have an uncaught exception, in any thread, end all ranks with one traceback."""
    sys.excepthook = _abort
    threading.excepthook = lambda args: _abort(
        args.exc_type, args.exc_value, args.exc_traceback
    )


def _abort(kind: type, value: BaseException, trace: Any) -> None:
    mpi = sys.modules.get("mpi4py.MPI")
    running = mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized()
    rank = mpi.COMM_WORLD.rank if running else 0
    if rank:
        # An error that all ranks raise is told by rank 0, whose abort comes first.
        time.sleep(HEAD_START_S)
    text = "".join(traceback.format_exception(kind, value, trace))
    where = f"rank {rank} of {mpi.COMM_WORLD.size}: " if running else ""
    sys.stdout.flush()
    sys.stderr.write(f"{where}{text}")
    sys.stderr.flush()
    if running:
        mpi.COMM_WORLD.Abort(EXIT_ABORTED)
