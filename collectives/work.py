"""Work: the handle of an unfinished collective, and the lane that carries them out.

All collectives of a communicator run in call order in its lane.  Under
MPI_THREAD_MULTIPLE a daemon thread runs what was started without blocking; otherwise
``wait()`` and ``test()`` make the progress on the caller's thread.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from .arrays import Array
from .device import hand_over
from .errors import CollectiveError, Stalled
from .patience import Patience

Steps = Generator[int, None, Any]  # closed where they are given up, not some day later

log = logging.getLogger("collectives")
GAP_S = 1.0  # a longer pause between two tests is no wait for the other ranks


class Work:
    """A collective under way."""

    def __init__(self, lane: "Lane", steps: Steps, result: list[Any]) -> None:
        """Begin; ``result`` receives the value when ``steps`` ends."""
        self._lane, self._steps, self._result = lane, steps, result
        self._finished = threading.Event()
        self._error: BaseException | None = None
        self._told = False  # the error has been raised to somebody
        self._callbacks: list[Callable[[Work], None]] = []

    def done(self) -> bool:
        """Say whether it has ended, well or not, without making progress."""
        return self._finished.is_set()

    def test(self) -> bool:
        """Make progress if no thread does; say whether it has ended.

        Raises:
            CollectiveError: it has ended badly.
        """
        if not self.done():
            self._lane.poll()
        done = self.done()  # looked up once: it may end at any moment
        if done and self._error is not None:
            self._told = True
            raise self._error
        if done:
            hand_over(self._steps)
        return done

    def wait(self, timeout_s: float | None = None) -> Any:
        """Wait for the end and return the result.

        Raises:
            Stalled: ``timeout_s`` has passed; the work goes on.
            CollectiveError: the collective failed.
        """
        self._lane.wait(self, timeout_s)
        if not self.done():
            raise Stalled(f"wait: not done after {timeout_s:g} s; still under way")
        if self._error is not None:
            self._told = True
            raise self._error
        return taken(self._steps, self._result)

    def __del__(self) -> None:
        """Log an error that nobody has waited for: the result is not there."""
        if self._error is not None and not self._told:
            log.error("a collective failed, and nobody waited for it: %s", self._error)

    def add_done_callback(self, function: Callable[["Work"], None]) -> None:
        """Call ``function(work)`` at the end, on the thread that makes the progress.

        Called at once if the work has ended.  What it raises is logged: the work is
        done all the same.  It may start collectives, but cannot wait for them.  A
        result on a GPU is there for a stream once `wait` has been called on it.
        """
        with self._lane.lock:
            if not self.done():
                self._callbacks.append(function)
                return
        self._call(function)

    def _call(self, function: Callable[["Work"], None]) -> None:
        try:
            function(self)
        except Exception:
            log.exception("callback %r of a collective", function)

    def _end(self, error: BaseException | None) -> None:
        with self._lane.lock:
            self._error = error
            self._finished.set()
            callbacks, self._callbacks = self._callbacks, []
        for function in callbacks:
            self._call(function)


class Lane:
    """The queue of one communicator: collectives run one after the other."""

    def __init__(self, patience: Callable[[bool], Patience], threaded: bool) -> None:
        """``patience(background)`` tells how to wait; ``threaded``: use a thread."""
        self.patience, self.threaded = patience, threaded
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.turn = threading.Lock()  # held by the thread that makes progress
        self.front = patience(False)  # of the caller's thread
        self.clock, self.polled = patience(True), 0.0
        self.queue: deque[Work] = deque()
        self.thread: threading.Thread | None = None
        self.closed = False

    def submit(self, steps: Steps, result: list[Any]) -> Work:
        """Queue a collective and return its handle."""
        work = Work(self, steps, result)
        with self.changed:
            if self.closed:
                raise CollectiveError("this communicator has been closed")
            self.queue.append(work)
            if self.threaded and self.thread is None:
                self.thread = threading.Thread(
                    target=self.run_forever, name="collectives", daemon=True
                )
                self.thread.start()
            self.changed.notify_all()
        return work

    def run(self, steps: Steps, result: list[Any]) -> Any:
        """Carry out a blocking collective, after all that was started before."""
        self.refuse_callbacks()
        if self.queue:
            return self.submit(steps, result).wait()
        if self.closed:
            raise CollectiveError("this communicator has been closed")
        with self.turn:
            self.drive(steps)
        return taken(steps, result)

    def free(self) -> bool:
        """Say whether a blocking collective can run at once."""
        if self.queue or self.closed:
            return False
        return self.thread is None or threading.current_thread() is not self.thread

    def drive(self, steps: Steps) -> None:
        """Carry out a collective on the caller's thread, which has the turn."""
        try:
            self.front.drive(steps)
        except BaseException:
            steps.close()
            raise

    def run_forever(self) -> None:
        """Do the communication thread's work: run what is queued, in order."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.queue or self.closed)
                if not self.queue:
                    return
                work = self.queue[0]
            self.carry_out(work, self.patience(True), None)
            del work  # and its result, which may be large

    def carry_out(self, work: Work, patience: Patience, limit: float | None) -> None:
        """Run the first collective of the queue to its end, or until ``limit``."""
        error: BaseException | None = None
        early = False

        def steps() -> Iterator[int]:
            nonlocal early
            for done in work._steps:
                if limit is not None and time.monotonic() > limit:
                    early = True
                    return
                yield done

        try:
            with self.turn:
                patience.drive(steps())
        except BaseException as caught:  # handed to whoever waits for the work
            error = caught
            work._steps.close()
        if not early:
            self.take_off(work, error)
        if error is not None and not isinstance(error, Exception):
            raise error  # the user's interrupt ends the wait, whichever work it hit

    def take_off(self, work: Work, error: BaseException | None) -> None:
        """Remove a collective that has ended, and tell who waits for it."""
        with self.changed:
            self.queue.popleft()
            self.changed.notify_all()
        work._end(error)

    def poll(self) -> None:
        """Make a little progress on the caller's thread, if no thread does."""
        if self.threaded or not self.queue:
            return
        work, now = self.queue[0], time.monotonic()
        if now - self.polled > GAP_S:
            self.clock = self.patience(True)
        self.polled = now
        try:
            self.clock.observe(next(work._steps))
        except StopIteration:
            self.take_off(work, None)
        except BaseException as error:
            work._steps.close()
            self.take_off(work, error)
            if not isinstance(error, Exception):
                raise  # the user's interrupt

    def wait(self, work: Work, timeout_s: float | None) -> None:
        """Wait until ``work`` has ended, at most ``timeout_s`` seconds."""
        if self.threaded:
            if not work.done():
                self.refuse_callbacks()
            work._finished.wait(timeout_s)
            return
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        while not work.done() and (limit is None or time.monotonic() < limit):
            self.carry_out(self.queue[0], self.patience(False), limit)

    def refuse_callbacks(self) -> None:
        """Check that the thread that makes the progress is not the one to wait for it.

        Raises:
            CollectiveError: it is, in a callback.
        """
        if self.thread is not None and threading.current_thread() is self.thread:
            raise CollectiveError(
                "a callback cannot wait for a collective: it runs on the thread that "
                "makes the progress; start one with iallreduce, and wait elsewhere"
            )

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        if self.thread is not None:
            self.thread.join()
        while self.queue:
            self.carry_out(self.queue[0], self.patience(False), None)


def taken(steps: Steps, result: list[Any]) -> Any:
    """Return the result of an operation, for the stream that is current here.

    Called on the thread of who takes it: there an array becomes one of his kind.
    """
    hand_over(steps)
    if result and isinstance(result[0], Array):
        result[0] = result[0].value
    return result[0] if result else None
