"""All ranks run each test together: a failure or a hang of one fails on all, by name.

Without this a rank whose test has failed goes on to the next one, and its collectives
meet those of the ranks that are still in the last.
"""

import faulthandler
import os
import sys
import tempfile
import time

import pytest

DEADLINE_S = 60.0  # for the slowest rank to end a test, after the fastest has

# A rank's own: in one that is shared, ranks remove what others are removing, and fail.
FOLDER = tempfile.TemporaryDirectory(prefix="rank-", ignore_cleanup_errors=True)
os.environ["PYTEST_DEBUG_TEMPROOT"] = FOLDER.name


@pytest.fixture(scope="session")
def mpi():
    from mpi4py import MPI

    return MPI


@pytest.fixture(scope="session")
def everywhere(mpi):
    """Return a function: what all ranks passed to it, in a list."""
    return mpi.COMM_WORLD.allgather


@pytest.fixture(scope="session", autouse=True)
def lockstep(request, mpi):
    request.config.stash[PRIVATE] = mpi.COMM_WORLD.Dup()


PRIVATE = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    error, result = None, None
    try:
        result = yield
    except BaseException as caught:
        error = caught
    private = item.config.stash.get(PRIVATE, None)
    if private is None:
        if error is not None:
            raise error
        return result
    wait_for_all(private, item, error)
    skipped = isinstance(error, pytest.skip.Exception)
    outcomes = private.allgather(error is not None and not skipped)
    if error is not None:
        raise error
    failed = [rank for rank, bad in enumerate(outcomes) if bad]
    if failed:
        pytest.fail(f"failed on rank {', '.join(map(str, failed))}", pytrace=False)
    return result


def wait_for_all(private, item, error):
    barrier, end = private.Ibarrier(), time.monotonic() + DEADLINE_S
    while not barrier.Test():
        if time.monotonic() > end:
            note = f"rank {private.rank} waits alone after {item.nodeid}: {error!r}"
            print(note, file=sys.__stderr__, flush=True)
            faulthandler.dump_traceback(file=sys.__stderr__)
            private.Abort(3)
        time.sleep(0.001)


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Let rank 0 report, and the others only what fails on them."""
    if not (config.getoption("--with-mpi") or config.getoption("--only-mpi")):
        return
    from mpi4py import MPI

    reporter = config.pluginmanager.getplugin("terminalreporter")
    if MPI.COMM_WORLD.rank and reporter is not None:
        config.pluginmanager.unregister(reporter)
        config.pluginmanager.register(FailuresOnly(), "failures-only")


class FailuresOnly:
    def pytest_runtest_logreport(self, report):
        if report.failed:
            from mpi4py import MPI

            print(f"[rank {MPI.COMM_WORLD.rank}] {report.nodeid}\n{report.longrepr}")
