"""The study's verdict: every branch, on tables that are made up."""

import pytest

from bench.study import verdict
from bench.study.train import CHANCE, Outcome
from bench.study.verdict import FAILED, HELD, NOT_REPRODUCIBLE, OPEN, Cell

SPREAD = (-0.2, -0.1, 0.0, 0.1, 0.2)  # deviation 0.158
BATCHES = (256, 1024, 8192)
GOOD = {  # the story of the paper: means by arm and batch
    "M1": (10.5, 13.0, 40.0),
    "M2": (10.2, 12.0, 25.0),
    "M3": (10.1, 12.0, 60.0),
    "M5": (10.0, 10.1, 20.0),
    "M7": (10.0, 10.0, 14.0),
    "M8": (10.0, 10.0, 17.0),
}


def cells(*, seeds=5, **changes):
    """A table like GOOD; an entry may be a `Cell`."""
    means = {("M0", 64): 10.0}
    for name, values in (GOOD | changes).items():
        means |= {(name, b): v for b, v in zip(BATCHES, values, strict=True)}
    return {
        place: mean
        if isinstance(mean, Cell)
        else Cell(tuple(mean + x for x in SPREAD[:seeds]), 0)
        for place, mean in means.items()
    }


def outcomes(**changes):
    return [finding.outcome for finding in verdict.judge(cells(**changes))]


def reasons(**changes):
    return [finding.reason for finding in verdict.judge(cells(**changes))]


def test_the_papers_story_holds():
    assert outcomes() == [HELD] * 4
    told = reasons()
    assert "+0.10 at 1024" in told[0]
    assert "B+ is 1024" in told[1]
    assert "p = 0.0312" in told[1]
    assert "M7 recovers 60% of the gap of 10.00 points" in told[3]


def test_parity_counts_from_512_pictures_on():
    assert outcomes(M5=(10.0, 11.0, 20.0))[0] == FAILED
    assert outcomes(M5=(10.0, 9.0, 20.0))[0] == FAILED  # better is not as good


def test_what_never_fails_is_not_reproducible_at_this_scale():
    findings = verdict.judge(cells(M3=(10.1, 10.2, 10.4)))
    assert [f.outcome for f in findings][1:3] == [NOT_REPRODUCIBLE, OPEN]
    assert not verdict.reproducible(findings)
    assert "at most 0.40 points, 3 s is 0.47" in findings[1].reason


def test_three_deviations_are_enough():
    far = 3 * cells()["M0", 64].deviation
    assert verdict.first_naive_failure(cells(M3=(10.0, 10.0, 10.001 + far))) == 8192
    assert verdict.first_naive_failure(cells(M3=(10.0, 10.0, 9.999 + far))) is None


def test_divergence_is_a_failure_whatever_the_mean():
    lost = Cell((10.0, 10.0, 10.0, 10.0, 10.0), 1)
    assert verdict.first_naive_failure(cells(M3=(lost, 10.0, 10.0))) == 256
    assert "(1 diverged)" in reasons(M3=(lost, 10.0, 10.0))[1]


def test_a_warm_up_that_does_not_help_fails():
    assert outcomes(M5=(10.0, 12.0, 20.0))[1] == FAILED
    mixed = Cell((11.0, 11.0, 11.0, 11.0, 13.0), 0)  # one random seed against
    assert outcomes(M5=(10.0, mixed, 20.0))[1] == FAILED


def test_few_random_seeds_decide_nothing():
    assert outcomes(seeds=3)[1] == OPEN
    assert "too few" in reasons(seeds=3)[1]


@pytest.mark.parametrize("name", ["M1", "M2"])
def test_both_other_scalings_must_be_worse(name):
    assert outcomes(**{name: (10.0, 10.05, 10.0)})[2] == FAILED


def test_half_the_gap_is_enough():
    assert outcomes(M7=(10.0, 10.0, 15.0))[3] == HELD
    assert outcomes(M7=(10.0, 10.0, 15.1))[3] == FAILED
    assert outcomes(M7=(10.0, 10.0, 90.0), M8=(10.0, 10.0, 13.0))[3] == HELD


def test_nothing_is_to_be_recovered_where_the_warm_up_fails_nowhere():
    assert outcomes(M5=(10.0, 10.0, 10.0))[3] == OPEN


def test_a_diverged_warm_up_has_failed():
    lost = Cell((CHANCE,) * 5, 5)
    assert "M5 first fails at 1024" in reasons(M5=(10.0, lost, lost))[3]


def test_the_paired_test_is_exact():
    assert verdict.paired([1, 1, 1]) == 1 / 8
    assert verdict.paired([-1, -1, -1]) == 1
    assert verdict.paired([0, 0]) == 1
    assert verdict.paired([2, -1]) == 0.5


def test_rows_become_cells_by_random_seed():
    rows = [
        Outcome("M3", 256, seed, 0.1, error, [error], 0.5, error > 90, 10, 1.0)
        for seed, error in ((2, 95.0), (1, 12.0), (3, 13.0))
    ]
    assert verdict.table(rows) == {("M3", 256): Cell((12.0, 95.0, 13.0), 1)}
