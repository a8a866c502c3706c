import gzip
import io
import json
import threading

import pytest
from alone import Alone

from collectives import InvalidArgument, Topology
from trainer import trace
from trainer.trace import OFF, Part, Reading


def recorded(tmp_path, name="trace.json"):
    """Return the trace of one rank, with a span inside another and one beside."""
    trace.make_file(str(tmp_path / name))
    found = trace.start(Alone(), str(tmp_path / name))
    with found.span("update", step=3):
        with found.span("forward"):
            pass
        found.add("bucket 0", 0.5, 0.75, track="allreduce", nbytes=64)
    return found


def read(path):
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        return json.load(file)


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz", "new/trace.json"])
def test_the_file_is_what_perfetto_asks_for(tmp_path, name):
    recorded(tmp_path, name).write()
    content = read(tmp_path / name)
    assert content["displayTimeUnit"] == "ms"
    spans = [event for event in content["traceEvents"] if event["ph"] == "X"]
    assert [span["name"] for span in spans] == ["forward", "bucket 0", "update"]
    for span in spans:
        assert {"name", "ph", "ts", "dur", "pid", "tid"} <= set(span)
        assert span["ts"] >= 0 and span["dur"] >= 0
        assert isinstance(span["pid"], int) and isinstance(span["tid"], int)
    assert spans[1]["dur"] == 250_000 and spans[1]["args"] == {"nbytes": 64}
    assert spans[2]["args"] == {"step": 3}
    assert not list(tmp_path.rglob("*.part"))


def test_a_span_inside_another_stays_inside(tmp_path):
    recorded(tmp_path).write()
    spans = {e["name"]: e for e in read(tmp_path / "trace.json")["traceEvents"]}
    inner, outer = spans["forward"], spans["update"]
    assert outer["ts"] <= inner["ts"]
    # Rounded to nanoseconds, as all times of the file are.
    assert inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"] + 0.002


def test_a_span_is_recorded_though_it_fails(tmp_path):
    found = trace.start(Alone(), str(tmp_path / "trace.json"))
    with pytest.raises(ZeroDivisionError), found.span("forward"):
        1 / 0  # noqa: B018
    assert [span[0] for span in found.ring] == ["forward"]


def test_a_trace_that_is_off_makes_nothing_and_writes_nothing():
    found = trace.start(Alone(), None)
    assert found is OFF
    assert found.span("forward") is found.span("backward")
    with found.span("forward", step=1):
        found.add("bucket 0", 0.0, 1.0, track="allreduce")
    found.write()


def test_the_ring_keeps_the_newest_and_counts_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(trace, "MOST", 4)
    found = trace.start(Alone(), str(tmp_path / "trace.json"))
    for i in range(10):
        found.add(f"span {i}", i, i + 1)
    found.write()
    content = read(tmp_path / "trace.json")
    names = [e["name"] for e in content["traceEvents"] if e["ph"] == "X"]
    assert names == ["span 6", "span 7", "span 8", "span 9"]
    assert content["otherData"]["spans_dropped"] == [6]


def test_threads_may_add_spans_at_once(tmp_path):
    found = trace.start(Alone(), str(tmp_path / "trace.json"))

    def add():
        for i in range(1000):
            found.add("bucket", i, i + 1, track="allreduce")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found.ring) == 4000


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match="--trace .*cannot be written"):
        trace.make_file(str(tmp_path / "file" / "trace.json"))


def part(*spans, offset=0.0, error=0.0, host="a"):
    clock = Reading(0.0, offset, error), Reading(1.0, offset, error)
    return Part(host, [(name, *rest, {}) for name, *rest in spans], 0, clock)


def merged(parts, topology):
    file = io.StringIO()
    trace.dump(file, parts, topology)
    return json.loads(file.getvalue())


def test_ranks_are_threads_of_their_nodes():
    both = [("forward", "main", 0.0, 1.0), ("bucket 0", "allreduce", 0.5, 1.0)]
    parts = [part(*both, host=name) for name in ("a", "a", "b", "b")]
    found = merged(parts, Topology.uniform(nodes=2, local=2))["traceEvents"]
    processes = {
        e["pid"]: e["args"]["name"] for e in found if e["name"] == "process_name"
    }
    assert processes == {0: "node 0 (a)", 1: "node 1 (b)"}
    threads = {e["tid"]: e["args"]["name"] for e in found if e["name"] == "thread_name"}
    assert list(threads.values()) == [
        name for rank in range(4) for name in (f"rank {rank}", f"rank {rank} allreduce")
    ]
    for span in found:
        if span["ph"] == "X":
            rank = int(threads[span["tid"]].split()[1])
            assert span["pid"] == rank // 2
            assert ("allreduce" in threads[span["tid"]]) == (span["cat"] == "allreduce")


def test_clocks_are_moved_to_that_of_rank_0():
    same = ("forward", "main", 10.0, 11.0)
    later = ("forward", "main", 110.5, 111.5)
    content = merged(
        [part(same), part(later, offset=100.0, error=2e-6)], Topology.uniform(local=2)
    )
    starts = [event["ts"] for event in content["traceEvents"] if event["ph"] == "X"]
    assert starts == [0.0, 500_000.0]
    assert content["otherData"]["clock_error_us"] == [0.0, 2.0]
    assert "ping-pong" in content["otherData"]["clock"]


def test_a_trace_without_spans_is_a_trace():
    found = merged([part(), part()], Topology.uniform(local=2))["traceEvents"]
    assert {event["ph"] for event in found} == {"M"}
