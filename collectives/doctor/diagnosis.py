"""Diagnosis: what the doctor has found, in words."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .. import mapped
from .advice import MULTIPLE, Advice
from .contained import Outcome
from .findings import Findings, Rank

SHOWN_RANKS = 16
EVERYBODY = "all ranks"


class Speed(NamedTuple):
    """How long a message took between pairs of ranks, all pairs at once."""

    where: str
    nbytes: int
    seconds: float


def section(title: str, lines: Iterable[str]) -> str:
    """Write lines under a title."""
    return "\n".join([title, *(f"   {line}" for line in lines), ""])


def circumstances(found: Findings) -> str:
    """Write what was looked up."""
    first = found.ranks[0]
    total, free = first.shared_bytes
    parts = {
        "Versions": [f"{name:18} {text}" for name, text in found.versions.items()],
        "Layout": [found.layout, *places(found.ranks)],
        "Threads": [f"{first.threads}: {threads(first.threads)}"],
        "Shared memory": [
            f"/dev/shm has {size(total)}, {size(free)} free",
            "group calls inside a node go through it"
            if found.shared
            else "not used: no node has two ranks that share it, or room for them",
        ],
        "Tuned table": [found.tuned],
        "Environment": list(environment(found.ranks)) or ["nothing set"],
        "Libraries": list(libraries(found.ranks)) or ["not known on this system"],
        "Devices": list(devices(found.ranks)),
        "MPI and device memory": [
            f"{who}: {text}"
            for text, who in alike((r.rank, str(r.verdict)) for r in found.ranks)
        ]
        + [f"--gpu-transport {found.asked}: {found.transport}"],
    }
    return "\n".join(section(title, lines) for title, lines in parts.items())


def alike(told: Iterable[tuple[int, str]]) -> list[tuple[str, str]]:
    """Return each text with the ranks that have told it.

    >>> alike([(0, "yes"), (1, "no"), (2, "yes")])
    [('yes', 'rank 0, 2'), ('no', 'rank 1')]
    """
    who: dict[str, list[int]] = {}
    for rank, text in told:
        who.setdefault(text, []).append(rank)
    if len(who) == 1:
        return [(text, EVERYBODY) for text in who]
    return [(text, f"rank {shorten(ranks)}") for text, ranks in who.items()]


def shorten(numbers: Sequence[int]) -> str:
    """Write numbers, of many only the first.

    >>> shorten([1, 2, 5])
    '1, 2, 5'
    """
    more = ", ..." if len(numbers) > SHOWN_RANKS else ""
    return ", ".join(map(str, numbers[:SHOWN_RANKS])) + more


def places(ranks: Sequence[Rank]) -> Iterator[str]:
    """Write the host of each rank, and the cores that it may run on."""
    for one in ranks[:SHOWN_RANKS]:
        cores = "core" if len(one.cores) == 1 else "cores"
        yield f"rank {one.rank} on {one.host}, {cores} {shorten(one.cores)}"
    if len(ranks) > SHOWN_RANKS:
        yield f"and {len(ranks) - SHOWN_RANKS} more ranks"


def threads(level: str) -> str:
    """Say what follows from the thread level."""
    if level == MULTIPLE:
        return "what is started without blocking runs on a thread of its own"
    return "what is started without blocking goes on only in wait() and test()"


def environment(ranks: Sequence[Rank]) -> Iterator[str]:
    """Write the variables that matter, with the ranks where they are not the same."""
    names = sorted({name for one in ranks for name in one.variables})
    for name in names:
        told = (
            (r.rank, f"={r.variables[name]}" if name in r.variables else " is unset")
            for r in ranks
        )
        for text, who in alike(told):
            yield f"{name}{text}" + ("" if who == EVERYBODY else f"  ({who})")


def libraries(ranks: Sequence[Rank]) -> Iterator[str]:
    """Write each mapped library, with the ranks that have it."""
    having: dict[mapped.Mapped, list[int]] = {}
    for one in ranks:
        for library in one.libraries:
            having.setdefault(library, []).append(one.rank)
    for library, who in having.items():
        text = f"{library.kind:7} {library.path}"
        text += f", version {library.version}" if library.version else ""
        yield text + ("" if len(who) == len(ranks) else f"  (rank {shorten(who)})")


def devices(ranks: Sequence[Rank]) -> Iterator[str]:
    """Write the CUDA devices of the ranks."""
    told = []
    for one in ranks:
        found = one.devices
        if not found.present:
            text = "none, or not looked for"
        elif not found.names:
            text = "a device, but neither CuPy nor torch that can use it"
        else:
            names = (f"{n} x {name}" for name, n in Counter(found.names).items())
            text = f"{', '.join(names)} by {found.package}"
        text += f", driver for CUDA {found.driver}" if found.driver else ""
        more = [part for part in (found.kernels, found.nccl) if part]
        told.append((one.rank, "; ".join([text, *more, *found.trouble])))
    yield from (f"{who}: {text}" for text, who in alike(told))


def probed(outcomes: Iterable[Outcome]) -> str:
    """Write how the probes have ended."""
    return section(
        "Probe: two new ranks on this host, which may crash",
        (f"{one.memory:6} {one.text}" for one in outcomes),
    )


def measured(speeds: Sequence[Speed]) -> str:
    """Write the speed of the links, of all pairs of neighbours at once."""
    lines = []
    for one in speeds:
        rate = one.nbytes / one.seconds / 1e9 if one.seconds else 0.0
        lines.append(
            f"{one.where:14} {one.nbytes:>11} bytes {one.seconds * 1e6:>11.1f} us "
            f"{rate:>8.3f} GB/s"
        )
    return section("Links between ranks", lines or ["one rank has none"])


def size(nbytes: int) -> str:
    """Write bytes in the unit of their size.

    >>> size(67108864)
    '64.0 MiB'
    """
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    number, unit = float(nbytes), 0
    while number >= 1024 and unit < len(units) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {units[unit]}" if unit else f"{nbytes} bytes"


def next_steps(advised: Sequence[Advice]) -> str:
    """Write what to do next, a line each."""
    lines = [f"{one.level}: {one.text}" for one in advised]
    return section("What to do next", lines or ["nothing: all is well"])


def as_json(
    found: Findings,
    outcomes: Sequence[Outcome],
    speeds: Sequence[Speed],
    advised: Sequence[Advice],
) -> dict[str, Any]:
    """Return everything as JSON can hold it."""
    ranks = [
        one._asdict()
        | {
            "libraries": [library._asdict() for library in one.libraries],
            "verdict": one.verdict._asdict(),
            "devices": one.devices._asdict(),
        }
        for one in found.ranks
    ]
    return found._asdict() | {
        "version": 1,
        "ranks": ranks,
        "probes": [one._asdict() for one in outcomes],
        "links": [one._asdict() for one in speeds],
        "advice": [one._asdict() for one in advised],
    }
