import json
import time

import pytest

from collectives import pingpong
from trainer import trace
from trainer.stragglers import Stragglers

pytestmark = pytest.mark.mpi
AHEAD_S = 1000.0  # of each rank's clock, against the rank below


def test_clocks_are_found_however_far_they_are_apart(comm, mpi):
    moved = pingpong.clock_offset(
        mpi.COMM_WORLD, lambda: time.perf_counter() + AHEAD_S * comm.rank
    )
    true = pingpong.clock_offset(mpi.COMM_WORLD)
    if comm.rank == 0:
        assert moved == true == (0.0, 0.0)
    else:
        assert 0 < moved[1] and 0 < true[1]
        difference = moved[0] - true[0] - AHEAD_S * comm.rank
        assert abs(difference) <= moved[1] + true[1]


def test_the_spans_of_all_ranks_are_in_one_file(comm, mpi_tmp_path):
    path = mpi_tmp_path / "trace.json"
    found = trace.start(comm, str(path))
    for step in range(3):
        with found.span("forward", step=step):
            pass
        begin = time.perf_counter()
        comm.barrier()
        found.add("barrier", begin, time.perf_counter(), track="communication")
    found.write()
    if comm.rank:
        return
    content = json.loads(path.read_text("utf-8"))
    spans = [event for event in content["traceEvents"] if event["ph"] == "X"]
    assert len(spans) == 6 * comm.size
    assert len({span["tid"] for span in spans}) == 2 * comm.size
    assert all(span["ts"] >= 0 and span["dur"] >= 0 for span in spans)
    assert len(content["otherData"]["clock_error_us"]) == comm.size
    barriers = [s for s in spans if s["name"] == "barrier"]
    error_us = max(content["otherData"]["clock_error_us"])
    for i in range(3):  # nobody leaves before the last has come
        mine = [barriers[i + 3 * rank] for rank in range(comm.size)]
        last = max(span["ts"] for span in mine)
        assert all(span["ts"] + span["dur"] >= last - 2 * error_us - 1 for span in mine)


def test_no_rank_has_a_trace_where_none_is_asked_for(comm):
    assert trace.start(comm, None) is trace.OFF


def test_all_ranks_learn_the_same_of_stragglers(comm, everywhere):
    found = Stragglers(comm)
    slow = comm.size - 1
    for _ in range(2):
        found.note(2.0 if comm.rank == slow else 1.0, 0.5)
    told = found.compare()
    assert told["slowest_rank"] == slow
    assert told["compute_max_s"] == 2.0
    report = found.report()
    assert report["compute_s"] == [2.0 if r == slow else 1.0 for r in range(comm.size)]
    assert all(other == (told, report) for other in everywhere((told, report)))
