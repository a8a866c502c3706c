import logging
import threading

import numpy as np
import pytest

from collectives import CollectiveError, Stalled
from collectives.arrays import DTYPES, Array
from collectives.patience import Patience
from collectives.work import Lane

THREADED = pytest.mark.parametrize("threaded", [True, False])


def lane(threaded, timeout_s=5.0):
    def patience(background):
        return Patience(timeout_s, background=background)

    return Lane(patience, threaded)


def collective(name, journal, result, steps=3, until=None):
    """A pretended collective that writes down when it begins and ends."""
    journal.append(f"begin {name}")
    yield from range(steps)
    while until is not None and not until.is_set():
        yield steps
    journal.append(f"end {name}")
    result.append(name)


def submit(to, name, journal, **options):
    result = []
    return to.submit(collective(name, journal, result, **options), result)


def run(to, name, journal):
    result = []
    return to.run(collective(name, journal, result), result)


@THREADED
def test_collectives_run_one_after_the_other_in_call_order(threaded):
    journal, queue = [], lane(threaded)
    works = [submit(queue, name, journal) for name in "abc"]
    assert run(queue, "d", journal) == "d"
    assert [work.wait() for work in reversed(works)] == ["c", "b", "a"]
    assert journal == [f"{what} {name}" for name in "abcd" for what in ("begin", "end")]
    queue.close()


@THREADED
def test_a_result_becomes_the_callers_kind_once_and_on_his_thread(threaded):
    queue, seen = lane(threaded), []

    def wrap(data, shape):
        seen.append(threading.current_thread())
        return data.reshape(shape)

    def operation(result):
        yield 0
        result.append(Array(np.ones(4), DTYPES["float64"], (2, 2), wrap))

    result = []
    work = queue.submit(operation(result), result)
    while not work.done():
        work.test()
    assert not seen
    assert work.wait().shape == (2, 2) and work.wait() is work.wait()
    result = []
    assert queue.run(operation(result), result).shape == (2, 2)
    assert seen == [threading.current_thread()] * 2
    queue.close()


@THREADED
def test_wait_with_a_timeout_leaves_the_work_under_way(threaded):
    release, queue = threading.Event(), lane(threaded)
    work = submit(queue, "a", [], until=release)
    with pytest.raises(Stalled, match=r"not done after 0\.05 s; still under way"):
        work.wait(0.05)
    assert not work.done()
    release.set()
    assert work.wait(5.0) == "a" and work.done() and work.test()
    queue.close()


@THREADED
def test_an_error_reaches_wait_and_test_and_the_next_collective_runs(threaded):
    def fails():
        yield 0
        raise CollectiveError("no")

    queue = lane(threaded)
    bad, good = queue.submit(fails(), []), submit(queue, "a", [])
    assert good.wait() == "a"
    for look in (bad.wait, bad.test, bad.wait):
        with pytest.raises(CollectiveError, match="no"):
            look()
    queue.close()


@THREADED
def test_callbacks_come_once_with_the_work_that_has_ended(threaded):
    seen, release, queue = [], threading.Event(), lane(threaded)
    work = submit(queue, "a", [], until=release)
    work.add_done_callback(seen.append)
    assert seen == []
    release.set()
    work.wait()
    queue.close()
    assert seen == [work]
    work.add_done_callback(seen.append)
    assert seen == [work, work]


@THREADED
def test_an_exception_in_a_callback_is_logged_and_hurts_nobody(threaded, caplog):
    release, queue, seen = threading.Event(), lane(threaded), []
    work = submit(queue, "a", [], until=release)
    work.add_done_callback(lambda work: 1 / 0)
    work.add_done_callback(seen.append)
    with caplog.at_level(logging.ERROR, "collectives"):
        release.set()
        assert work.wait() == "a"
        assert submit(queue, "b", []).wait() == "b"
        queue.close()
    assert seen == [work]
    assert "ZeroDivisionError" in caplog.text


def test_a_callback_may_start_a_collective_but_not_wait_for_it():
    release, queue, started, refused = threading.Event(), lane(True), [], []

    def callback(work):
        started.append(submit(queue, "b", []))
        for wait in (started[0].wait, lambda: run(queue, "c", [])):
            with pytest.raises(CollectiveError) as caught:
                wait()
            refused.append(str(caught.value))

    work = submit(queue, "a", [], until=release)
    work.add_done_callback(callback)
    release.set()
    work.wait()
    queue.close()
    assert started[0].wait() == "b"
    assert len(refused) == 2 and "a callback cannot wait" in refused[0]


def test_without_a_thread_test_makes_the_progress():
    journal, queue = [], lane(False)
    work = submit(queue, "a", journal, steps=2)
    assert journal == []
    assert [work.test() for _ in range(3)] == [False, False, True]
    assert work.wait() == "a"


def test_testing_without_a_thread_stalls_at_the_deadline():
    queue = lane(False, timeout_s=0.05)
    work = submit(queue, "a", [], until=threading.Event())
    with pytest.raises(Stalled, match="no progress within"):
        while not work.test():
            pass


@THREADED
def test_close_finishes_what_was_started_and_refuses_more(threaded):
    journal, queue = [], lane(threaded)
    works = [submit(queue, name, journal) for name in "ab"]
    queue.close()
    assert [work.wait() for work in works] == ["a", "b"]
    for start in (submit, run):
        with pytest.raises(CollectiveError, match="has been closed"):
            start(queue, "c", journal)


def test_an_interrupt_ends_the_wait_and_not_only_the_work_it_hit():
    def interrupted():
        yield 0
        raise KeyboardInterrupt

    queue = lane(False)
    queue.submit(interrupted(), [])
    later = submit(queue, "b", [])
    with pytest.raises(KeyboardInterrupt):
        later.wait()
    assert later.wait() == "b"


def test_what_an_interrupt_has_hit_in_a_test_does_not_succeed_later():
    def interrupted():
        yield 0
        raise KeyboardInterrupt

    work = lane(False).submit(interrupted(), [])
    assert not work.test()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            work.test()
    with pytest.raises(KeyboardInterrupt):
        work.wait()


@pytest.mark.parametrize("how", ["run", "submit"])
def test_what_an_interrupt_has_hit_is_closed_at_once(monkeypatch, how):
    journal, queue = [], lane(False)

    def steps():
        try:
            while True:
                yield 0
        finally:
            journal.append("closed")

    def interrupt(self, done):
        raise KeyboardInterrupt

    monkeypatch.setattr(Patience, "observe", interrupt)
    with pytest.raises(KeyboardInterrupt):
        queue.run(steps(), []) if how == "run" else queue.submit(steps(), []).wait()
    assert journal == ["closed"]


def test_blocking_calls_never_run_beside_the_communication_thread():
    queue, journal = lane(True), []
    release, called, began, submitted = (threading.Event() for _ in range(4))

    def callback(work):  # the queue is empty: a blocking call need not wait in it
        called.set()
        began.wait(5)
        submit(queue, "b", journal)
        submitted.set()

    def blocking():
        journal.append("begin c")
        began.set()
        submitted.wait(5)
        for i in range(2000):
            yield i
            if len(journal) > 1:
                break
        journal.append("end c")

    submit(queue, "a", [], until=release).add_done_callback(callback)
    release.set()
    called.wait(5)
    queue.run(blocking(), [])
    queue.close()
    assert journal == ["begin c", "end c", "begin b", "end b"]
