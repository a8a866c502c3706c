"""Plan: every run of the study, those that the verdict needs first.

Tuning comes before all: five rates of SGD at the smallest batch, and five of LARS at
one batch, on a random seed that no result has.  M0 is run at the smallest batch, where
all arms of SGD are the same, and the others at all larger ones.
"""

from collections.abc import Iterable, Sequence

from .arms import ARMS, LARS_RATES, RATES, REFERENCE, Rates
from .task import HELD_OUT, Size
from .train import Outcome, Run

FIRST = ("M5", "M3", "M1", "M2", "M7", "M8")  # the verdict is about these and M0
MIDDLE = len(RATES) // 2
Key = tuple[str, int, int, float]


def tuning(size: Size) -> list[Run]:
    """Return the runs that find the tuned settings."""
    middle = Rates(RATES[MIDDLE], LARS_RATES[MIDDLE])
    return [
        Run("M0", REFERENCE, HELD_OUT, middle._replace(sgd=rate), size.epochs)
        for rate in RATES
    ] + [
        Run("M7", size.tuned_batch, HELD_OUT, middle._replace(lars=rate), size.epochs)
        for rate in LARS_RATES
    ]


def tuned(outcomes: Iterable[Outcome]) -> Rates:
    """Return the rates with the least error; of equals the smallest."""
    best = {}
    for arm in ("M0", "M7"):
        found = [(o.error, o.rate) for o in outcomes if o.arm == arm]
        best[arm] = min(found)[1]
    return Rates(sgd=best["M0"], lars=best["M7"])


def runs(size: Size, rates: Rates) -> list[Run]:
    """Return the runs that results come from, neighbours alike in cost."""
    others = [name for name in ARMS if name not in (*FIRST, "M0")]
    larger = [batch for batch in size.batches if batch > REFERENCE]
    pairs = [("M0", REFERENCE)]
    for names in (FIRST, others):
        pairs += [(name, batch) for batch in reversed(larger) for name in names]
    return [
        Run(name, batch, seed, rates, size.epochs)
        for name, batch in pairs
        for seed in size.seeds
    ]


def key(run: Run | Outcome) -> Key:
    """Return what makes a run and its outcome the same: arm, batch, seed and rate."""
    if isinstance(run, Run):
        rate = run.rates.lars if run.arm == "M7" else run.rates.sgd
        return run.arm, run.batch, run.seed, rate
    return run.arm, run.batch, run.seed, run.rate


def planned(size: Size, rates: Rates, done: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes of the plan's runs: not of rates tried before."""
    keys = {key(run) for run in runs(size, rates)}
    return [outcome for outcome in done if key(outcome) in keys]


def left(planned: Sequence[Run], done: Iterable[Outcome]) -> list[Run]:
    """Return the runs that have no outcome yet."""
    known = {key(outcome) for outcome in done}
    return [run for run in planned if key(run) not in known]
