import re

import pytest
from launcher import embedded, openmpi

MISSING = """
from collectives import CollectiveError, Communicator, Stalled
comm = Communicator(timeout_s=1.0)
comm.barrier()
x = np.ones(1000)
plan = comm.plan(np.ones(1000), algorithm="native")
if comm.rank == 1:
    time.sleep(3.5)
begin = time.monotonic()
for attempt in (1, 2):
    try:
        if sys.argv[1] == "blocking":
            comm.allreduce(x, algorithm="ring")
        elif sys.argv[1] == "started":
            comm.iallreduce(x, algorithm="ring").wait()
        elif sys.argv[1] == "tested":
            work = comm.iallreduce(x, algorithm="ring")
            while not work.test():
                pass
        elif sys.argv[1] == "barrier":
            comm.barrier()
        elif sys.argv[1] == "planned":
            plan.run()
        say("rank", comm.rank, "went through")
    except Stalled as error:
        took = time.monotonic() - begin
        text = str(error).replace(chr(10), " | ")
        say("rank", comm.rank, "attempt", attempt, "after", round(took, 1), text)
comm.close()
"""


@pytest.mark.parametrize("how", ["blocking", "started", "tested", "barrier", "planned"])
def test_a_rank_that_never_comes_is_named_by_the_others_in_time(how):
    done = embedded().run(3, MISSING, how)
    assert done.status == 0, done.text
    assert "went through" not in done.text
    lines = re.findall(r"rank (\d) attempt (\d) after ([\d.]+) (.*)", done.text)
    assert sorted(line[:2] for line in lines) == [
        (rank, attempt) for rank in "012" for attempt in "12"
    ]
    called = "barrier()" if how == "barrier" else "allreduce(count=1000, dtype=float64"
    for rank, _, seconds, text in lines:
        if rank == "1":
            assert float(seconds) < 2.5, done.text
            continue
        assert float(seconds) <= 1 + 2.5
        assert "rank 1 did not come to it" in text
        assert text.startswith("operation ") and called in text
        assert "no progress within 1 s" in text


IN_THE_MIDDLE = """
import gc, weakref
from collectives import Communicator, Stalled
from collectives.executor import Execution
comm = Communicator(timeout_s=1.0)
x = np.ones(99)
alive = weakref.ref(x)
if comm.rank == 2:  # it agrees, and then goes no further
    Execution.send = lambda self, flight, step: False
try:
    comm.allreduce(x, out=x, algorithm="ring")
except Stalled as error:
    say("rank", comm.rank, str(error).replace(chr(10), " | "))
del comm, x
gc.collect()
assert alive() is not None  # a late message may still be written there
"""


def test_a_stall_in_the_middle_says_who_waits_for_whom():
    done = embedded().run(3, IN_THE_MIDDLE)
    assert done.status == 0, done.text
    lines = re.findall(r"^rank (\d) operation (.*)", done.text, re.M)
    assert len(lines) == 3, done.text
    for _, text in lines:
        assert "did not come" not in text
        assert re.search(r"rank 0 \d of 4 steps done, waits in .*rank 2 to send", text)


DIFFERENT = """
from collectives import Communicator, ShapeMismatch
comm = Communicator(timeout_s=60)
begin = time.monotonic()
try:
    comm.barrier() if comm.rank == 1 else comm.allreduce(np.ones(3))
except ShapeMismatch as error:
    assert time.monotonic() - begin < 10
    say("rank", comm.rank, error)
comm.close()
"""


@pytest.mark.parametrize("lane", [embedded, openmpi])
def test_ranks_in_different_operations_are_told_at_once(lane):
    done = lane().run(3, DIFFERENT)
    assert done.status == 0, done.text
    assert done.text.count("rank 1 called barrier(), rank 0 called allreduce(") == 3


LEFT = """
from collectives import CollectiveError, Communicator, RankFailed
from collectives.executor import Execution
comm = Communicator(timeout_s=60)
if comm.rank == 1:
    def no_memory(self):
        raise MemoryError("no memory for 8 GiB")
    Execution.new_box = no_memory
begin = time.monotonic()
for attempt in (1, 2):
    try:
        comm.allreduce(np.ones(1000), algorithm="ring")
    except CollectiveError as error:
        assert time.monotonic() - begin < 20
        say("rank", comm.rank, type(error).__name__, str(error).replace(chr(10), " | "))
comm.close()
"""


def test_a_rank_that_leaves_with_an_error_is_reported_by_the_others():
    done = embedded().run(3, LEFT)
    assert done.status == 0, done.text
    found = re.findall(r"^rank (\d) (\w+) (.*)", done.text, re.M)
    assert len(found) == 6, done.text
    for rank, kind, text in found:
        assert "MemoryError('no memory for 8 GiB')" in text
        assert kind == ("CollectiveError" if rank == "1" else "RankFailed")


LATE_AND_DIFFERENT = """
from collectives import Communicator, Stalled
comm = Communicator(timeout_s=1)
time.sleep(4 * comm.rank)
try:
    comm.barrier() if comm.rank else comm.allreduce(np.ones(4))
except Stalled as error:
    say("rank", comm.rank, "stalled")
comm.close()
"""


@pytest.mark.parametrize("lane", [embedded, openmpi])
def test_a_late_rank_with_another_call_hears_that_it_was_given_up(lane):
    done = lane().run(2, LATE_AND_DIFFERENT)
    assert done.status == 0, done.text
    assert done.text.count("stalled") == 2


FAILED_ALONE = """
from collectives import CollectiveError, Communicator
comm = Communicator(timeout_s=2)
if comm.rank == 0:
    def fail(*arguments):
        raise MemoryError("no memory")
    comm._end.shared.board.quiet = fail
try:
    comm.allreduce(np.ones(4))
    comm.close()
except CollectiveError as error:
    say("rank", comm.rank, type(error).__name__)
comm.close()
"""


def test_to_close_what_another_rank_has_left_ends_too():
    done = embedded().run(2, FAILED_ALONE)
    assert done.status == 0, done.text
    assert "rank 0 CollectiveError" in done.text
    assert "rank 1 RankFailed" in done.text or "rank 1 Stalled" in done.text
