"""Job: a launcher and the ranks that it starts, ended in time."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

GRACE_S = 10.0  # for a launcher to end its ranks, before it is killed


def exit_code(
    command: Sequence[str],
    output: Any,
    timeout_s: float,
    environment: Mapping[str, str] = os.environ,
) -> int | None:
    """Run a command; return its exit code, None if it had to be stopped.

    What it prints goes to ``output``, a binary file.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also where the user interrupts: a session of its own hears no Ctrl-C
        if process.poll() is None:
            stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask a launcher to end its ranks; kill its process group if it does not."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
