import pytest
from bench_rows import make

from bench.against import Change, report

META = {
    "date": "2020-01-02T03:04:05+00:00",
    "layout": "2 ranks on 1 node",
    "hardware": {"cpu": "abacus"},
    "versions": {"mpi": "MPI 5"},
    "buffers": "ordinary",
}


def compare(old, new, tolerance=0.1, **now):
    return report("old.json", (META, old), (META | now, new), tolerance)


def test_a_change_is_one_of_ratios_not_of_times():
    change = Change(make(time_us=10.0, ratio=2.0), make(time_us=30.0, ratio=3.0))
    assert change.ratio == 1.5


@pytest.mark.parametrize("ratios", [(None, 2.0), (2.0, None), (0.0, 2.0)])
def test_a_change_is_unknown_without_native(ratios):
    old, new = (make(ratio=ratio) for ratio in ratios)
    assert Change(old, new).ratio is None
    assert "# Not judged           : 1, without native" in compare([old], [new])


def test_old_time_new_time_and_change_stand_in_one_line():
    text = compare([make(time_us=10.0)], [make(time_us=8.0, ratio=2.5)])
    (row,) = [line for line in text.splitlines() if line.startswith("# ring")]
    assert row.split() == "# ring 4096 out-of-place 10.00 8.00 1.25".split()
    assert "# Regressions          : 0 of 1 below 0.90" in text


def test_every_line_is_a_comment():
    text = compare([make(), make("auto")], [make(ratio=1.0), make("tree")])
    assert all(line.startswith("#") for line in text.splitlines())


def test_what_lost_more_than_the_tolerance_is_named_worst_first():
    old = [make(size=size, ratio=2.0) for size in (4, 8, 16, 32)]
    new = [make(size=s, ratio=r) for s, r in ((4, 1.9), (8, 1.7), (16, 1.0), (32, 3))]
    lines = compare(old, new).splitlines()
    begin = lines.index("# Regressions          : 2 of 4 below 0.90")
    assert lines[begin + 1 :] == [
        "#   ring 16 out-of-place: 0.50",
        "#   ring 8 out-of-place: 0.85",
    ]
    assert "Regressions          : 1 of 4 below 0.80" in compare(old, new, 0.2)


def test_native_is_the_measure_and_not_judged():
    rows = [make("native", ratio=1.0)]
    assert "# Regressions          : 0 of 0" in compare(rows, rows)


def test_rows_of_one_side_only_are_told():
    old = [make(), make(size=8192), make(size=8192, in_place=True)]
    new = [make(), make("tree")]
    text = compare(old, new)
    assert "# only in old.json: ring float32 sum, out-of-place: 8192" in text
    assert "# only in old.json: ring float32 sum, in-place: 8192" in text
    assert "# only in this run: tree float32 sum, out-of-place: 4096" in text


def test_other_types_and_operations_are_not_compared():
    text = compare([make(dtype="float64"), make(op="max")], [make()])
    assert "# no row is in both" in text
    assert text.count("# only in ") == 3


def test_other_circumstances_are_told():
    text = compare([make()], [make()], layout="4 ranks", versions={"mpi": "MPI 6"})
    assert "# attention: layout was '2 ranks on 1 node', is '4 ranks'" in text
    assert "# attention: mpi was 'MPI 5', is 'MPI 6'" in text
    assert "attention" not in compare([make()], [make()])
