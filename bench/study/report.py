"""Report: one page, in reStructuredText, that says what held and what did not."""

from collections.abc import Iterator
from itertools import groupby
from textwrap import fill
from typing import Any

from . import plan, verdict
from .arms import ARMS, LARS_RATES, LARS_REFERENCE, RATES, REFERENCE
from .record import Record
from .task import NOISE, Size
from .verdict import NOT_REPRODUCIBLE, Cell, Finding, Table

TITLE = "Large batches on 20 glyphs"
WIDTH = 88


def text(record: Record) -> str:
    """Return the page."""
    size = sized(record)
    rates = plan.tuned(record.tuning) if tuned(record, size) else None
    table = cells(record)
    lines = [TITLE, "=" * len(TITLE), ""]
    missing = len(plan.left(plan.runs(size, rates), record.rows)) if rates else None
    if missing != 0:
        lines += [wrapped(unfinished(record, missing)), ""]
    else:
        lines += [*conclusion(verdict.judge(table)), ""]
    lines += [*errors(table, size), "", *circumstances(record, size)]
    return "\n".join(lines).rstrip() + "\n"


def sized(record: Record) -> Size:
    """Return the size of a record, its lists as tuples again."""
    values = record.size.items()
    return Size(**{k: tuple(v) if isinstance(v, list) else v for k, v in values})


def cells(record: Record) -> Table:
    """Return the outcomes of the planned runs; none before tuning has ended."""
    size = sized(record)
    if not tuned(record, size):
        return {}
    rates = plan.tuned(record.tuning)
    return verdict.table(plan.planned(size, rates, record.rows))


def tuned(record: Record, size: Size) -> bool:
    """Say whether tuning has ended."""
    return not plan.left(plan.tuning(size), record.tuning)


def unfinished(record: Record, missing: int | None) -> str:
    """Say that there is no verdict yet."""
    what = "tuning has not ended" if missing is None else f"{missing} runs are left"
    return (
        f"**Not finished:** {len(record.rows)} runs have ended, {what}.  There is no "
        "verdict before the last one; the same command goes on."
    )


def conclusion(findings: list[Finding]) -> Iterator[str]:
    """Yield the verdict: the whole first, then each criterion with its reason."""
    held = [finding.criterion for finding in findings if finding.outcome == "held"]
    if not verdict.reproducible(findings):
        yield wrapped(
            f"**{NOT_REPRODUCIBLE.capitalize()}**: naive scaling never failed, so what "
            "the recipes cure does not occur here.  No threshold was moved."
        )
    elif len(held) == len(findings):
        yield wrapped("**All four criteria held.**")
    else:
        names = ", ".join(held) or "none"
        yield wrapped(f"**{len(held)} of {len(findings)} criteria held: {names}.**")
    yield ""
    for finding in findings:
        body = (
            f"* ({finding.criterion}) {finding.claim}: **{finding.outcome}**.  "
            f"{finding.reason}."
        )
        yield wrapped(body, indent="  ")


def errors(cells: Table, size: Size) -> Iterator[str]:
    """Yield the table of errors: an arm a row, a batch a column."""
    batches = list(size.batches)
    rule = "  ".join(["=" * 5, "=" * 22, *["=" * 16] * len(batches)])
    yield wrapped(
        f"Test error in percent, mean +/- standard deviation of {len(size.seeds)} "
        "random seeds, of each run the median of its last 5 epochs.  At "
        f"{REFERENCE} all arms of SGD are M0.  ``!`` marks runs that diverged, which "
        "count as guessing, 95."
    )
    yield ""
    yield rule
    yield row("arm", "what", [f"B = {batch}" for batch in batches])
    yield rule
    for name, arm in ARMS.items():
        shown = [entry(cells.get((name, batch))) for batch in batches]
        yield row(name, arm.title, shown)
    yield rule


def row(first: str, second: str, cells: list[str]) -> str:
    """Return one line of the table."""
    line = "  ".join([f"{first:5}", f"{second:22}", *(f"{c:16}" for c in cells)])
    return line.rstrip()


def entry(cell: Cell | None) -> str:
    """Write a cell; nothing where there is none."""
    if cell is None:
        return ""
    return f"{cell.mean:.2f} +/- {cell.deviation:.2f}{' !' if cell.diverged else ''}"


def circumstances(record: Record, size: Size) -> Iterator[str]:
    """Yield what the figures depend on."""
    meta = record.meta
    yield wrapped(
        f"**Task.**  {size.train:,} training and {size.test:,} test pictures of 24x24 "
        f"pixels, 20 classes, {size.epochs} epochs, a residual net of 72,084 weights, "
        f"ghost batches of 32.  The noise, {NOISE:g}, was set once: by noise, errors "
        f"at B = 64 were {series(record.task['calibration'])} percent."
    )
    yield ""
    yield wrapped(f"**Tuning.**  {tuning(record, size)}")
    yield ""
    yield wrapped(f"**Ranks.**  {ranks(record.equality)}")
    yield ""
    if size.name != "full":
        yield wrapped(
            f"**This is the {size.name} form**: fewer pictures, batches and random "
            "seeds.  It shows that the study runs, and is no evidence."
        )
        yield ""
    hours = sum(o.seconds for o in (*record.tuning, *record.rows)) / 3600
    yield wrapped(
        f"**Made** by ``{meta['command']}`` in {hours:.2f} hours of runs, "
        f"{meta['layout']}, {meta['hardware']['cpu']}, Python "
        f"{meta['versions']['python']}, NumPy {meta['versions']['numpy']}, "
        f"{meta['date']}."
    )


def tuning(record: Record, size: Size) -> str:
    """Say which rates were tried, on the held-out random seed, and what they gave."""
    told = []
    for arm, outcomes in groupby(record.tuning, lambda outcome: outcome.arm):
        found = {f"{o.rate:g}": o.error for o in outcomes}
        what = "SGD, at B = 64"
        if arm == "M7":
            at = size.tuned_batch
            what = f"LARS, at B = {at}"
            if at != LARS_REFERENCE:
                what += f", rates as of B = {LARS_REFERENCE}"
        best = min(found, key=found.__getitem__)
        edge = best in (list(found)[0], list(found)[-1])
        told.append(
            f"{what}: {series(found)} percent, so {best}"
            + (", at the edge of what was tried" if edge else "")
        )
    return (
        f"{len(RATES)} rates for SGD and {len(LARS_RATES)} for LARS, on a random seed "
        "that no result has, but on the same test pictures; the least error was "
        f"taken.  {'; '.join(told)}.  LARS was tuned where M5 is weak, and M7 and M8 "
        "have their papers' schedules: (iv) is about whole recipes, not about "
        "optimisers alone."
    )


def series(values: dict[str, Any]) -> str:
    """Write ``key: value`` pairs, values as percent."""
    return ", ".join(f"{key}: {value:.2f}" for key, value in values.items())


def ranks(equality: dict[str, Any] | None) -> str:
    """Say what the demonstration has shown, if it was made."""
    if equality is None:
        return (
            "On one process no gradient was sent; under ``mpiexec`` the study also "
            "trains one net on all ranks and compares."
        )
    return (
        f"{equality['updates']} updates of {equality['batch']} pictures on "
        f"{equality['ranks']} ranks, gradients added by the allreduce, and alone with "
        "virtual workers: weights differ by at most "
        f"{equality['largest_difference']:.1e} of the largest (float64)."
    )


def wrapped(text: str, indent: str = "") -> str:
    """Fill a paragraph."""
    return fill(
        text,
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
