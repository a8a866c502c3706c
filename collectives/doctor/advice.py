"""Advice: what to do next, after what the doctor has found; most important first."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .. import mapped
from .contained import Outcome
from .findings import Findings, Rank

LEVELS = ("broken", "warning", "note")
MULTIPLE = "MPI_THREAD_MULTIPLE"


class Advice(NamedTuple):
    """A line of what to do next, and how much it matters: one of ``LEVELS``."""

    level: str
    text: str


def advice(found: Findings, outcomes: Sequence[Outcome]) -> list[Advice]:
    """Return what to do next, most important first."""
    every = [*of_libraries(found.ranks), *of_layout(found), *of_devices(found)]
    every += of_probes(found, outcomes)
    if found.tuned.startswith("no tuned table"):
        text = (
            "python -m bench.tune measures which algorithm is fastest for this layout"
        )
        every.append(Advice("note", text))
    return sorted(dict.fromkeys(every), key=lambda one: LEVELS.index(one.level))


def of_libraries(ranks: Sequence[Rank]) -> Iterator[Advice]:
    """Warn of two libraries that should be one."""
    cures = {
        "nccl": (
            "broken",
            "programs hang with two: keep one nvidia-nccl-cu package, of "
            "the CUDA version that torch and CuPy both use",
        ),
        "mpi": ("warning", "keep one MPI in the environment"),
        "cudart": ("warning", "install torch and CuPy for the same CUDA version"),
    }
    for one in ranks:
        for kind, (level, cure) in cures.items():
            differing = mapped.differing(one.libraries, kind)
            if differing:
                what = " and ".join(
                    f"{library.path} {library.version}".strip() for library in differing
                )
                yield Advice(level, f"rank {one.rank} has loaded {what}: {cure}")
                return


def of_layout(found: Findings) -> Iterator[Advice]:
    """Warn of ranks that are in each other's way, and of a layout that is not real."""
    hosts: dict[str, list[Rank]] = {}
    for one in found.ranks:
        hosts.setdefault(one.host, []).append(one)
    for name, ranks in hosts.items():
        cores = set[int]().union(*(one.cores for one in ranks))
        pinned = Counter(one.cores[0] for one in ranks if len(one.cores) == 1)
        twice = sorted(core for core, n in pinned.items() if n > 1)
        if len(ranks) > len(cores):
            yield Advice(
                "warning",
                f"{len(ranks)} ranks share {len(cores)} cores of {name}: start at most "
                "one rank a core, or bind less tightly (--bind-to none)",
            )
        elif twice:
            yield Advice(
                "warning",
                f"several ranks are pinned to core {', '.join(map(str, twice))} of "
                f"{name}: let the launcher give each its own (--bind-to core)",
            )
    if found.pretended:
        yield Advice(
            "warning",
            f"COLLECTIVES_NODES={found.pretended} pretends a layout: unset it, but for "
            "tests",
        )
    elif not found.shared and len(hosts) < len(found.ranks):
        yield Advice(
            "warning",
            "ranks of a node do not use shared memory: give /dev/shm more room (mount "
            "-o remount,size=... /dev/shm, docker run --shm-size=...)",
        )
    if any(one.threads != MULTIPLE for one in found.ranks):
        yield Advice(
            "warning",
            f"MPI gives {found.ranks[0].threads}: for progress in the background take "
            f"an MPI that gives {MULTIPLE}",
        )
    if len(found.ranks) == 1:
        yield Advice(
            "note",
            "one rank has no links: mpirun -n 2 python -m collectives.doctor measures "
            "them",
        )


def of_devices(found: Findings) -> Iterator[Advice]:
    """Say how device arrays will travel, and what is missing for them."""
    if found.transport not in ("device", "staged"):
        yield Advice("broken", found.transport)
    present = [one for one in found.ranks if one.devices.present]
    for one in present[:1]:
        extra = "cuda13" if one.devices.driver.startswith("13") else "cuda12"
        install = f"pip install 'mpi-collectives[{extra}]'"
        if not one.devices.package:
            yield Advice("warning", f"no package can use the device: {install}")
        elif not one.devices.nccl:
            lack = one.devices.lack
            yield Advice("warning", f"no NCCL for the GPUs of a node: {lack}")
        if found.transport == "staged":
            yield Advice(
                "note",
                "device arrays go through pinned host memory (--gpu-transport staged): "
                "nothing to do, but an MPI built for CUDA may be faster",
            )
    for one in present:
        if one.devices.uncompiled:
            yield Advice("broken", f"rank {one.rank}: {one.devices.uncompiled}")
        for text in one.devices.trouble:
            yield Advice("warning", f"rank {one.rank}: {text}: reinstall that package")


def of_probes(found: Findings, outcomes: Iterable[Outcome]) -> Iterator[Advice]:
    """Say what follows from the probes."""
    for memory, state, text in outcomes:
        if state == "not run":
            yield Advice("warning", f"MPI was not tried: {text}; put it on PATH")
        elif memory == "host" and state != "right":
            yield Advice(
                "broken",
                f"MPI cannot send host memory between two ranks of this host: {text}; "
                "reinstall it, or ask who installed it",
            )
        elif memory != "host":
            yield from of_device_probe(found, state, text)


def of_device_probe(found: Findings, state: str, text: str) -> Iterator[Advice]:
    """Compare what MPI says of device memory with what has happened to it."""
    says = all(one.verdict.aware is True for one in found.ranks)
    if state == "right" and not says:
        yield Advice(
            "note",
            "device memory went through MPI, though the library does not say that it "
            "takes it: staged all the same",
        )
    elif state != "right" and says:
        yield Advice(
            "broken",
            f"MPI says that it is CUDA-aware, but device memory {text}; start programs "
            "with --gpu-transport staged",
        )
    elif state == "failed":
        yield Advice("warning", f"device memory was not tried to the end: {text}")
    elif state != "right":
        yield Advice("note", f"this MPI cannot take device memory, as it says: {text}")
