import pytest

from bench.ranges import lines, upper_ends, winners
from collectives import Choice


def times(**us):
    return {Choice(name): value for name, value in us.items()}


def chosen(*measured):
    return [str(choice) for choice in winners(measured)]


def test_the_fastest_is_taken():
    assert chosen(times(ring=1, tree=2), times(ring=2, tree=1)) == ["ring", "tree"]


def test_neighbours_within_three_percent_do_not_switch():
    near, far = times(ring=1.02, tree=1), times(ring=1.04, tree=1)
    assert chosen(times(ring=1, tree=2), near, near) == ["ring"] * 3
    assert chosen(times(ring=1, tree=2), far, times(ring=1, tree=1.02)) == [
        *("ring", "tree", "tree")
    ]


def test_native_goes_before_what_is_no_faster_and_stays_behind_the_choice_before():
    near = times(native=1.02, ring=1)
    assert chosen(near) == ["native"]
    assert chosen(times(native=2, ring=1), near) == ["ring", "ring"]


def test_a_plain_algorithm_goes_before_its_variants():
    deep = Choice("ring", depth=8)
    assert chosen(times(ring=1.02) | {deep: 1}) == ["ring"]
    assert chosen(times(ring=1.04) | {deep: 1}) == ["ring depth=8"]


def test_what_was_not_measured_again_does_not_stay():
    assert chosen(times(ring=1, tree=2), times(tree=5)) == ["ring", "tree"]


def test_ranges_meet_without_gap_and_keep_their_evidence():
    measured = {
        4: times(native=1, ring=9),
        16: times(native=1, ring=9),
        64: times(native=9, ring=1),
    }
    found = lines(measured, "allreduce", "half", True)
    assert [line[:6] for line in found] == [
        ("allreduce", "half", True, 0, 32, Choice("native")),
        ("allreduce", "half", True, 33, 128, Choice("ring")),
    ]
    assert [dict(line.measured_us) for line in found] == [
        {4: measured[4], 16: measured[16]},
        {64: measured[64]},
    ]


@pytest.mark.parametrize("sizes", [[4], [4, 8], [3, 100, 10_000], [4, 5, 6, 1 << 40]])
def test_every_size_speaks_for_itself(sizes):
    ends = upper_ends(sizes)
    assert len(ends) == len(sizes)
    for i, nbytes in enumerate(sizes):
        assert nbytes <= ends[i]
        assert i == 0 or ends[i - 1] < nbytes
