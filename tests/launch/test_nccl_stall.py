"""A rank that goes no further inside NCCL's calls, under a stand-in for NCCL.

The stand-in is one in each process: the other ranks seem to come to NCCL's calls at
once, up to one call, which waits for ever.
"""

import re

import pytest
from launcher import ROOT, embedded

STUCK = """
import fake_cupy, fake_nccl, pytest
from collectives import Communicator, Stalled, RankFailed, CollectiveError
from collectives.transports.nccl import Nccl
binding, how, layout = sys.argv[1:]
monkeypatch = pytest.MonkeyPatch()
gpu = fake_cupy.Gpu()
fake_cupy.install(monkeypatch, gpu)
library = fake_nccl.install(monkeypatch, gpu, binding)
library.alone = True
comm = Communicator(timeout_s=1.0)
fake_cupy.Device(comm.rank).use()
x = fake_cupy.asarray(np.ones(99, np.float32))
algorithm = "shared" if layout == "one" else "hierarchical"
comm.allreduce(x, "max", out=x, algorithm=algorithm)
library.stuck_after = 1
last = comm.size - 1
if comm.rank == last:
    launch = Nccl.launch
    def go_no_further(*call):
        if how == "sleeps":
            time.sleep(4)
        elif how == "raises":
            raise OSError("the GPU is gone")
        launch(*call)
    Nccl.launch = go_no_further
for attempt in (1, 2):
    try:
        comm.allreduce(x, "max", out=x, algorithm=algorithm)
    except CollectiveError as error:
        text = str(error).replace(chr(10), " | ")
        say("rank", comm.rank, attempt, type(error).__name__, library.aborts, text)
fake_cupy.get_current_stream().synchronize()
say("rank", comm.rank, "ended")
"""


def run(size, *arguments, **environment):
    path = f"{ROOT}:{ROOT / 'tests'}"
    done = embedded().run(size, STUCK, *arguments, PYTHONPATH=path, **environment)
    assert done.status == 0, done.text
    assert done.text.count("ended") == size
    lines = re.findall(r"rank (\d) (\d) (\w+) (\d) (.*)", done.text)
    assert len(lines) == 2 * size, done.text
    return done.text, lines


@pytest.mark.parametrize("binding", ["cupy", "nccl4py"])
@pytest.mark.parametrize("size", [2, 4, 6])
def test_a_rank_that_sleeps_in_a_call_is_named_and_nccl_is_aborted(size, binding):
    text, lines = run(size, binding, "sleeps", "one")
    for rank, attempt, kind, aborts, told in lines:
        assert kind == "Stalled" and aborts == "1", text
        if int(rank) < size - 1:
            assert f"rank {size - 1} did not come to it" in told, text
        assert attempt == "1" or "cannot be used since then" in told, text


def test_calls_that_wait_for_ever_between_nodes_are_aborted_on_all_ranks():
    text, lines = run(4, "cupy", "waits", "two", COLLECTIVES_NODES="2x2")
    assert {line[2:4] for line in lines} == {("Stalled", "1")}, text
    assert text.count("steps done, waits in step") >= 4


@pytest.mark.parametrize("binding", ["cupy", "nccl4py"])
def test_an_error_of_one_rank_ends_the_calls_of_the_others(binding):
    text, lines = run(3, binding, "raises", "one")
    for rank, _, kind, aborts, told in lines:
        assert aborts == "1" and "the GPU is gone" in told, text
        assert kind == ("CollectiveError" if rank == "2" else "RankFailed"), text
