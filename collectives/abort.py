"""Abort: one rank's uncaught exception ends all ranks, and its traceback is seen.

Without this the other ranks wait for the failed one for ever; and if it calls
``MPI_Abort`` at once, the launcher may end everything before it has read what the rank
had to say: output travels through a pipe, the abort through another door.
"""

import fcntl
import os
import stat
import struct
import sys
import termios
import threading
import time
import traceback
from functools import partial
from typing import Any

Kinds = tuple[type[BaseException], ...]

EXIT_CODE = 1
HEAD_START_S = 0.5  # an error that all ranks have is told by rank 0, whose abort wins
READING_S = 2.0  # for the launcher to empty the pipes
GRACE_S = 0.2  # for it to pass on what it has read
_one_at_a_time = threading.Lock()


def abort_on_exception(*, one_line: Kinds = ()) -> None:
    """Have an uncaught exception, in any thread, end all ranks with one traceback.

    Of the kinds ``one_line`` only the message is told, in one line: what is wrong is
    not in the program.  It replaces ``sys.excepthook`` and ``threading.excepthook``.
    Where MPI is not running they do what they always do.
    """
    sys.excepthook = partial(end_all_ranks, one_line=one_line)
    threading.excepthook = partial(end_all_ranks_from_thread, one_line=one_line)


def end_all_ranks(
    kind: type[BaseException], value: Any, trace: Any, one_line: Kinds = ()
) -> None:
    """Tell the exception with its rank, wait until it is read, and abort the job."""
    mpi = running_mpi()
    if mpi is None:
        sys.__excepthook__(kind, value, trace)
        return
    with _one_at_a_time:  # never released: the first error is the one to tell
        world = mpi.COMM_WORLD
        if world.rank:
            time.sleep(HEAD_START_S)
        if issubclass(kind, one_line):
            text = " ".join(str(value).splitlines()) + "\n"
        else:
            text = "".join(traceback.format_exception(kind, value, trace))
        sys.stdout.flush()
        sys.stderr.write(f"rank {world.rank} of {world.size}: {text}")
        sys.stderr.flush()
        wait_for_reader(READING_S)
        time.sleep(GRACE_S)
        world.Abort(EXIT_CODE)
        os._exit(EXIT_CODE)  # Abort may return before the launcher ends the process


def end_all_ranks_from_thread(
    failed: threading.ExceptHookArgs, one_line: Kinds = ()
) -> None:
    """Do the same for a thread; ``SystemExit`` ends that thread only, as always."""
    if running_mpi() is None or failed.exc_type is SystemExit:
        threading.__excepthook__(failed)
    else:
        end_all_ranks(failed.exc_type, failed.exc_value, failed.exc_traceback, one_line)


def running_mpi() -> Any:
    """Return ``mpi4py.MPI`` if it is loaded and can abort, else None."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        return mpi
    return None


def wait_for_reader(timeout_s: float, fds: tuple[int, ...] = (1, 2)) -> bool:
    """Wait until nothing is left in the pipes ``fds``; say whether that came true."""
    end = time.monotonic() + timeout_s
    while any(unread(fd) for fd in fds):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def unread(fd: int) -> int:
    """Return the bytes in a pipe that its reader has not taken, 0 for other files.

    Linux answers ``FIONREAD`` at the writing end too (pipe(7)).
    """
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return 0
        answer = fcntl.ioctl(fd, termios.FIONREAD, struct.pack("i", 0))
    except OSError:  # closed, or a system that does not tell
        return 0
    return int(struct.unpack("i", answer)[0])
