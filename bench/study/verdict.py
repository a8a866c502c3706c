"""Verdict: what was to be shown, decided before any result.

With s the standard deviation of M0 over the random seeds, and means of the errors,

    i     some B >= 512 has |M5 - M0| <= 2 s
    ii    at B+, the smallest B with M3 - M0 >= 3 s or divergence, M5 < M3 by a paired
          test
    iii   at B+, M1 and M2 are worse than M5
    iv    at the first B where M5 fails (M5 - M0 > 2 s, or divergence), LARS or RMSprop
          warm-up recovers at least half of the gap

If (ii) never triggers, the study is not reproducible at this scale, and no threshold
moves.  The test is exact and one-sided: of all ways to flip the signs of the
differences, the part whose mean is at least as large.  Below 5 random seeds it cannot
reach 5 %, and of 5 only if M5 is better with each.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from statistics import mean, stdev
from typing import NamedTuple

from .arms import REFERENCE
from .train import Outcome

NEAR, FAR = 2.0, 3.0  # standard deviations
LEAST_BATCH = 512  # of criterion i
LEVEL = 0.05  # of the paired test
PART = 0.5  # of the gap
HELD, FAILED, OPEN = "held", "did not hold", "not decided"
NOT_REPRODUCIBLE = "not reproducible at this scale"


class Cell(NamedTuple):
    """An arm at a batch: errors in percent by random seed, and how many diverged."""

    errors: tuple[float, ...]
    diverged: int

    @property
    def mean(self) -> float:
        """Mean error; a run that diverged counts as guessing."""
        return mean(self.errors)

    @property
    def deviation(self) -> float:
        """Standard deviation of the sample; 0 of a single one."""
        return stdev(self.errors) if len(self.errors) > 1 else 0.0


Table = Mapping[tuple[str, int], Cell]


class Finding(NamedTuple):
    """What became of one criterion, and why."""

    criterion: str
    claim: str
    outcome: str
    reason: str


def table(rows: Iterable[Outcome]) -> dict[tuple[str, int], Cell]:
    """Return the cells, errors in the order of the random seeds."""
    found: dict[tuple[str, int], list[Outcome]] = {}
    for row in sorted(rows, key=lambda row: row.seed):
        found.setdefault((row.arm, row.batch), []).append(row)
    return {
        place: Cell(tuple(r.error for r in some), sum(r.diverged for r in some))
        for place, some in found.items()
    }


def batches(cells: Table) -> list[int]:
    """Return the batches of the arms that are compared with M0."""
    return sorted({batch for _, batch in cells if batch > REFERENCE})


def judge(cells: Table) -> list[Finding]:
    """Return the four findings for a whole table."""
    base = cells["M0", REFERENCE]
    critical = first_naive_failure(cells)
    return [
        parity(cells, base),
        warmup(cells, base, critical),
        scaling(cells, critical),
        recovery(cells, base),
    ]


def reproducible(findings: Iterable[Finding]) -> bool:
    """Say whether (ii) triggered."""
    return all(finding.outcome != NOT_REPRODUCIBLE for finding in findings)


def first_naive_failure(cells: Table) -> int | None:
    """Return B+, or None if M3 fails nowhere."""
    base = cells["M0", REFERENCE]
    for batch in batches(cells):
        naive = cells["M3", batch]
        if naive.diverged or naive.mean - base.mean >= FAR * base.deviation:
            return batch
    return None


def parity(cells: Table, base: Cell) -> Finding:
    """Judge (i)."""
    claim = f"some B >= {LEAST_BATCH} has |M5 - M0| <= {NEAR:g} s"
    apart = {b: cells["M5", b].mean - base.mean for b in batches(cells)}
    large = [b for b in apart if b >= LEAST_BATCH]
    if not large:
        return Finding("i", claim, OPEN, "the study has no such batch")
    near = [b for b in large if abs(apart[b]) <= NEAR * base.deviation]
    told = ", ".join(f"{apart[b]:+.2f} at {b}" for b in large)
    reason = f"M5 - M0 in points: {told}; 2 s is {NEAR * base.deviation:.2f}"
    return Finding("i", claim, HELD if near else FAILED, reason)


def paired(differences: Iterable[float]) -> float:
    """Return the part of all sign flips whose mean is at least that of the data.

    >>> paired([1.0, 2.0, 1.5, 1.0, 3.0])
    0.03125
    """
    values = list(differences)
    flips = list(product((1, -1), repeat=len(values)))
    sums = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in flips]
    return sum(total >= sums[0] - 1e-9 for total in sums) / len(flips)


def warmup(cells: Table, base: Cell, critical: int | None) -> Finding:
    """Judge (ii)."""
    claim = "at B+, M5 < M3 by a paired test"
    if critical is None:
        worst = max(cells["M3", b].mean - base.mean for b in batches(cells))
        reason = (
            f"M3 fails at no batch: M3 - M0 is at most {worst:.2f} points, 3 s is "
            f"{FAR * base.deviation:.2f}, and nothing diverged; B+ does not exist"
        )
        return Finding("ii", claim, NOT_REPRODUCIBLE, reason)
    naive, gradual = cells["M3", critical], cells["M5", critical]
    p = paired(a - b for a, b in zip(naive.errors, gradual.errors, strict=True))
    reason = (
        f"B+ is {critical}: M3 {shown(naive)}, M5 {shown(gradual)}, p = {p:.3g} "
        f"(exact, {len(naive.errors)} random seeds)"
    )
    if 2 ** -len(naive.errors) > LEVEL:
        return Finding("ii", claim, OPEN, f"{reason}; too few for {LEVEL:g}")
    return Finding("ii", claim, HELD if p <= LEVEL else FAILED, reason)


def scaling(cells: Table, critical: int | None) -> Finding:
    """Judge (iii)."""
    claim = "at B+, M1 and M2 are worse than M5"
    if critical is None:
        return Finding("iii", claim, OPEN, "B+ does not exist")
    flat, root, linear = (cells[name, critical] for name in ("M1", "M2", "M5"))
    worse = flat.mean > linear.mean and root.mean > linear.mean
    reason = (
        f"at {critical}: M1 {shown(flat)}, M2 {shown(root)}, M5 {shown(linear)}, "
        "compared by their means"
    )
    return Finding("iii", claim, HELD if worse else FAILED, reason)


def recovery(cells: Table, base: Cell) -> Finding:
    """Judge (iv)."""
    claim = f"where M5 first fails, M7 or M8 recovers >= {PART:.0%} of the gap"
    for batch in batches(cells):
        gradual = cells["M5", batch]
        gap = gradual.mean - base.mean
        if gradual.diverged or gap > NEAR * base.deviation:
            break
    else:
        return Finding("iv", claim, OPEN, "M5 fails at none of the batches")
    others = {name: cells[name, batch] for name in ("M7", "M8")}
    best = min(others, key=lambda name: others[name].mean)
    part = (gradual.mean - others[best].mean) / gap if gap > 0 else 1.0
    told = ", ".join(f"{name} {shown(cell)}" for name, cell in others.items())
    reason = (
        f"M5 first fails at {batch}: {shown(gradual)}, M0 {shown(base)}; {told}; "
        f"{best} recovers {part:.0%} of the gap of {gap:.2f} points"
    )
    return Finding("iv", claim, HELD if part >= PART else FAILED, reason)


def shown(cell: Cell) -> str:
    """Write a cell in percent.

    >>> shown(Cell((10.0, 11.0), 0)), shown(Cell((95.0, 95.0), 2))
    ('10.50 +/- 0.71', '95.00 +/- 0.00 (2 diverged)')
    """
    text = f"{cell.mean:.2f} +/- {cell.deviation:.2f}"
    return f"{text} ({cell.diverged} diverged)" if cell.diverged else text
