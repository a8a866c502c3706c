"""What bench.device makes of times, and when a call on a GPU has ended."""

import json

import fake_cupy
import numpy as np
import pytest

from bench import device, device_memory, device_paths, elements, files, meta
from bench import device_report as report
from bench.device_report import Rate
from bench.options import Options
from bench.place import HOST, Gpu
from collectives import InvalidArgument, arrays


class NoMessages:
    """An MPI communicator that is looked at while something else is awaited."""

    looked = 0

    def Iprobe(self):  # noqa: N802 - mpi4py's name
        self.looked += 1


@pytest.fixture
def gpu(monkeypatch):
    made = fake_cupy.Gpu(lazy=0.1)
    fake_cupy.install(monkeypatch, made)
    return made


def test_a_call_on_a_gpu_has_ended_when_the_stream_has_done_it(gpu):
    mpi = NoMessages()
    place, met = Gpu(mpi), []
    x, y = place.empty(10, np.dtype(np.float32)), place.empty(10, np.float32)
    place.put(np.arange(10, dtype=np.float32), x)

    def meet():
        assert not gpu.default.queue  # nothing of before is counted
        met.append(True)

    def call():
        for _ in range(5):
            y[:] = x

    took = place.timed(meet, call)
    assert met == [True]
    assert not gpu.default.queue
    assert 0 < took.device <= took.seconds
    assert mpi.looked > 0
    np.testing.assert_array_equal(place.get(y), np.arange(10))


def test_the_host_knows_no_events():
    took = HOST.timed(lambda: None, lambda: None)
    assert took.seconds >= 0
    assert np.isnan(took.device)


def test_device_memory_is_no_tensor_where_torch_sees_no_gpu(gpu, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="sees no GPU"):
        elements.tensor(fake_cupy.empty(1))


def test_bfloat16_is_passed_as_a_tensor_of_the_same_memory():
    torch = pytest.importorskip("torch")
    data = elements.encode("bfloat16", np.array([1.0, 3.0]))
    passed = elements.as_passed("bfloat16", data)
    assert passed.dtype == torch.bfloat16
    passed += 1
    assert elements.decode("bfloat16", data).tolist() == [2, 4]
    assert elements.tensor(passed) is passed


SECONDS = {
    **dict.fromkeys(device_paths.LINKS, 0.5),
    **{"message": 0.4, "segments": 0.2, "exchange": 0.5, "allreduce": 2.0},
}


@pytest.mark.parametrize("dtype", device_memory.DTYPES)
def test_kernels_that_are_measured_do_something(gpu, dtype):
    a, b = (fake_cupy.empty(5, elements.storage(dtype)) for _ in range(2))
    a.set(elements.encode(dtype, np.full(5, 3.0)))
    calls, found = device_memory.calls(arrays.DTYPES[dtype], a, b), []
    for kind in ("copy", "add", "scale"):
        calls[kind]()
        found.append(elements.decode(dtype, b.get())[0])
    assert found == [3, 6, -6]


def test_one_rank_has_no_wire():
    rates = device_paths.told(10**9, 1, SECONDS)
    assert {rate.part for rate in rates} == {"pcie"}
    assert {rate.gbps for rate in rates} == {2.0}


@pytest.mark.parametrize(
    ("both", "limit", "ratio"), [(0.5, "pcie", 1.0), (0.1, "wire", 0.4)]
)
def test_what_is_staged_is_judged_by_the_slower_link_at_its_best(both, limit, ratio):
    rates = device_paths.told(10**9, 2, SECONDS | {"both ways": both})
    exchange, allreduce = (rate for rate in rates if rate.part == "staged")
    assert exchange.gbps == 2.0
    assert (exchange.limit, exchange.ratio) == (limit, pytest.approx(ratio))
    assert allreduce.gbps == 0.5  # as much goes each way
    assert exchange.goal == allreduce.goal == device_paths.GOAL


def test_a_ring_of_more_ranks_sends_more():
    rates = {r.what: r.gbps for r in device_paths.told(9 * 10**8, 3, SECONDS)}
    assert rates["exchange"] == pytest.approx(0.9 * 2 / 0.5)
    assert rates["allreduce"] == pytest.approx(0.9 * 4 / 3 / 2.0)


def test_a_line_says_what_was_to_be_reached():
    rate = Rate("memory", "add", "float32", 4096, 12.345, 0.8512, "copy", 0.85)
    words = report.line(rate).split()
    assert words == "memory add float32 4096 12.35 copy 0.851 0.85 reached".split()
    rate = Rate("memory", "add", "float32", 4096, 12.345, 0.84, "copy", 0.85)
    assert report.line(rate).endswith("0.85 missed")
    rate = Rate("pcie", "down", "float32", 4096, 12.345)
    assert report.line(rate).split() == "pcie down float32 4096 12.35".split()


def test_titles_stand_above_their_columns():
    rate = Rate("memory", "add", "float32", 4096, 12.345, 0.8512, "copy", 0.85)
    titles, line = report.header({}).splitlines()[0], report.line(rate)
    for title, text in (("type", "float32"), ("rate", "12.35"), ("ratio", "0.851")):
        assert titles.index(title) + len(title) == line.index(text) + len(text)


def test_rates_are_written_as_rows(tmp_path):
    path = tmp_path / "device.json"
    files.write_json(str(path), {"layout": ""}, device_paths.told(8, 1, SECONDS))
    rows = json.loads(path.read_text("utf-8"))["rows"]
    assert [row["what"] for row in rows] == list(device_paths.LINKS)
    assert rows[0]["ratio"] is rows[0]["goal"] is None


@pytest.mark.parametrize(
    "words",
    [
        "--iters 0",
        "--warmup -1",
        "--memory-sizes 2",
        "--path-sizes 4,6",
        "--path-sizes x",
        "stray",
    ],
)
def test_wrong_usage_of_the_device_command_is_raised(words):
    with pytest.raises(InvalidArgument):
        device.Options(**vars(device.parser().parse_args(words.split())))


def test_what_is_not_given_is_as_in_the_options():
    assert device.Options(**vars(device.parser().parse_args([]))) == device.Options()


@pytest.mark.parametrize("words", [{"share_gpu": True}, {"gpu_transport": "staged"}])
def test_options_of_gpus_are_refused_without_them(words):
    assert Options(("ring",), device="cuda", **words)
    with pytest.raises(InvalidArgument, match="with --device cuda"):
        Options(("ring",), **words)


def test_versions_of_cuda_are_read():
    assert [meta.decimal(code) for code in (12090, 13000)] == ["12.9", "13.0"]
