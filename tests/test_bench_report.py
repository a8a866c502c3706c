import numpy as np
import pytest
from bench_rows import make

from bench import report
from bench.measure import turns
from bench.row import bus_factor, statistics

META = {
    "command": "mpirun -np 4 python -m bench.allreduce",
    "date": "2020-01-02T03:04:05+00:00",
    "layout": "4 ranks on 1 node, grid 2x2",
    "hardware": {"cpu": "abacus", "cores": 2},
    "versions": {"python": "3.14", "mpi": "MPI 5"},
    "buffers": "ordinary",
    "time": "median",
    "roof": "none",
    "left_out": {"gloo": "torch is not installed"},
    "options": {},
}


ROWS = [make(in_place=False), make(in_place=True, wrong=3), make("auto", 8192)]
ROWS += [make("auto", 8192, in_place=True)]


@pytest.mark.parametrize(("ranks", "factor"), [(1, 0), (2, 1), (4, 1.5), (8, 1.75)])
def test_bus_bandwidth_counts_what_crosses_a_link(ranks, factor):
    assert bus_factor(ranks) == factor


def test_statistics_are_medians_and_decimal_gigabytes():
    seconds = np.array([0.004, 0.001, 0.002])
    found = statistics(seconds, 2_000_000, 4, seconds * 3)
    assert found["time_us"] == pytest.approx(2000)
    assert found["algbw"] == pytest.approx(1.0)
    assert found["busbw"] == pytest.approx(1.5)
    assert found["ratio"] == pytest.approx(3.0)
    points = found["percentiles_us"]
    assert [points["min"], points["p50"], points["max"]] == pytest.approx(
        [1000, 2000, 4000]
    )
    assert points["p50"] <= points["p90"] <= points["p99"] <= points["max"]


def test_there_is_no_ratio_without_native():
    assert statistics(np.ones(3), 4, 2, None)["ratio"] is None


def test_the_roof_is_the_quickest_pass_over_the_time():
    passes = [np.full(3, 0.3), np.array([0.2, 9.0, 0.1])]
    assert statistics(np.full(3, 0.4), 4, 2, None, passes)["roof"] == pytest.approx(50)
    assert statistics(np.full(3, 0.4), 4, 2, None)["roof"] is None


def test_a_roof_is_shown_in_whole_percent():
    row = make(roof=71.6)
    assert " 72 " in report.line(row, row)


def test_everybody_goes_first_in_turn():
    for n in (1, 2, 5):
        orders = [turns(n, i) for i in range(-n, n)]
        assert all(sorted(order) == list(range(n)) for order in orders)
        assert {order[0] for order in orders[:n]} == set(range(n))


def test_only_rows_are_without_a_hash():
    text = "\n".join([report.header(META), report.lines(ROWS), report.footer(ROWS)])
    data = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line.split()[0] for line in data] == ["ring", "auto"]
    assert (
        data[0].split()
        == (
            "ring 4096 1024 float32 sum "
            "10.25 0.400 0.600 0 - 2.00 10.25 0.400 0.600 3 - 2.00"
        ).split()
    )


def test_columns_stand_under_their_names():
    lines = report.header(META).splitlines()
    names = lines[-2]
    row = report.lines(ROWS).splitlines()[-1]
    for word in ("size", "count", "type", "redop", "time", "ratio"):
        end = names.index(word) + len(word)
        assert row[end - 1] != " "
        assert row[end : end + 1] in (" ", "")


def test_the_header_says_where_and_with_what():
    text = report.header(META)
    assert "# hardware: cpu abacus, cores 2" in text
    assert "# left out: gloo: torch is not installed" in text
    assert "# layout: 4 ranks on 1 node, grid 2x2" in text


def test_the_footer_adds_up_and_averages_per_algorithm():
    text = report.footer(ROWS)
    assert "# Out of bounds values : 3 FAILED" in text
    assert "# Avg bus bandwidth    : 0.600 ring" in text
    assert "# Avg bus bandwidth    : 0.600 auto" in text
    assert "0 OK" in report.footer([make()])


def test_what_was_not_checked_is_not_called_ok():
    rows = [make(wrong=None, ratio=None), make(wrong=None, ratio=None, in_place=True)]
    assert report.wrong_elements(rows) is None
    assert "not checked" in report.footer(rows)
    assert report.lines(rows).count("N/A") == 4
