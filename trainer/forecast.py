"""Forecast a published run: what its ranks send, and how long it takes at best.

The time of an update lies between two bounds, computed from the makers' figures of the
links: gradients that travel while the backward pass runs (`trainer.layers` says when
they are there), in buckets of the best of a few sizes, or all after it.  No published
figure follows from that: stragglers, input and launches are not in it, and most runs
took longer.  So the forecast is a band, printed beside the published figure, and never
an agreement with it.

Besides messages our costs count the additions (``gamma``: 0.2 ms an update on ABCI).
``hierarchical`` sums its leaders by halving and doubling, not by Jia et al.'s ring.
"""

from collections.abc import Sequence
from typing import NamedTuple

from collectives import Chunk, Exchange, GroupCall, Machine, Topology, algorithms
from trainer import fusion, layers, phases
from trainer.fields import Model, Reduction
from trainer.phases import Phase
from trainer.published import Cluster

ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4}
BUCKETS = tuple(1_000_000 << n for n in range(6))  # bytes, as sent; chosen by us
BACKWARD = 2 / 3  # of the computation


class Call(NamedTuple):
    """One allreduce: of one bucket, or of all gradients at once."""

    algorithm: str
    nbytes: int  # in the dtype in which they travel
    ready: float = 1.0  # the part of the backward pass after which it can begin


class Gradients(NamedTuple):
    """An update's allreduces, in two ways."""

    late: list[Call]  # after the backward pass
    early: list[list[Call]]  # in buckets, each when it is there, of several sizes


class Traffic(NamedTuple):
    """What rank 0 does in an allreduce, or in several."""

    steps: int  # messages and calls of the node's engine
    nbytes: int  # sent in messages


class Band(NamedTuple):
    """Seconds: with communication beside the backward pass, and after it."""

    least: float
    most: float


class Scaling(NamedTuple):
    """Weak-scaling efficiency on ``size`` workers: published, and as computed."""

    size: int
    published: float
    band: Band  # lowest and highest efficiency: communication after, and beside
    residual_s: float  # of a published update that the sum of both does not explain
    fitted: float  # with the residual of the first row, which is calibrated on it


def efficiency(rate: float, size: int, *, base_rate: float, base_size: int) -> float:
    """Return the weak-scaling efficiency of ``size`` workers at ``rate`` images/s.

    It means something only beside its base: never compare across bases.

    >>> round(efficiency(556522, 1024, base_rate=2565, base_size=4), 5)
    0.84753
    """
    return rate / (size / base_size * base_rate)


def cuts(counts: list[int], reduction: Reduction) -> list[list[int]]:
    """Return the buckets of float32 gradients of so many elements, as indices."""
    return fusion.layout(
        [(ITEMSIZE["float32"] * count, "float32") for count in counts],
        first_nbytes=reduction.first_bucket_bytes,
        nbytes=reduction.bucket_bytes,
    )


def gradients(
    model: Model, reduction: Reduction, *, default: str, processor: str = ""
) -> Gradients:
    """Return an update's allreduces.

    Late ones are one, or those of the recipe's buckets where their bytes decide on the
    algorithm; early ones these, or of each size of `BUCKETS`.  ``default`` is the
    algorithm where the recipe says "auto"; ``processor`` one of `layers.PROCESSORS`.
    """
    counts = layers.arrivals(model)
    ready = layers.ready(model, layers.PROCESSORS[processor])
    itemsize = ITEMSIZE[reduction.wire or "float32"]

    def call(cut: list[int]) -> Call:
        count = sum(counts[i] for i in cut)
        name = fusion.algorithm(reduction, ITEMSIZE["float32"] * count)
        name = default if name == "auto" else name
        return Call(name, count * itemsize, ready[cut[-1]])

    if reduction.switch_bytes:
        late = [call(cut) for cut in cuts(counts, reduction)]
        return Gradients(late, [late])
    tensors = [(itemsize * count, "") for count in counts]
    ways = [fusion.layout(tensors, first_nbytes=n, nbytes=n) for n in BUCKETS]
    late = [call(list(range(len(counts))))]
    return Gradients(late, [[call(cut) for cut in way] for way in ways])


def gradient_bytes(model: Model, wire: str | None) -> int:
    """Return the bytes of all gradients in the dtype in which they travel."""
    return layers.parameters(model).total * ITEMSIZE[wire or "float32"]


def place(cluster: Cluster, size: int) -> Topology:
    """Arrange ``size`` ranks on the cluster's nodes, under the published grid."""
    local = Machine.load(cluster.machine).local
    full, rest = divmod(size, local)
    topology = Topology.sized([local] * full + [rest] * (rest > 0))
    grids = [grid for grid in cluster.grids if grid[0] * grid[1] == size]
    return topology.with_grid(grids[0] if grids else None)


def traffic(algorithm: str, topology: Topology, count: int, itemsize: int) -> Traffic:
    """Count what rank 0 does in the allreduce of ``count`` elements."""
    steps = nbytes = 0
    module = algorithms.load(algorithm)
    for step in module.schedule(topology, 0, Chunk(0, count)):
        steps += isinstance(step, Exchange | GroupCall)
        if isinstance(step, Exchange) and step.dst is not None:
            nbytes += step.send.size * itemsize
    return Traffic(steps, nbytes)


def wire_s(calls: Sequence[Call], topology: Topology, machine: Machine) -> float:
    """Return the seconds of allreduces that are made one after the other."""
    return sum(
        algorithms.load(call.algorithm).cost(topology, call.nbytes, machine)
        for call in calls
    )


def exposed_s(
    calls: Sequence[Call], topology: Topology, machine: Machine, *, backward_s: float
) -> float:
    """Return the seconds from the end of the backward pass to that of all allreduces.

    They are made in order, each when it is ready and the one before has ended.
    """
    end = 0.0
    for call in calls:
        end = max(end, call.ready * backward_s) + wire_s([call], topology, machine)
    return end - backward_s


def waits(
    gradients: Gradients, topology: Topology, machine: Machine, *, compute_s: float
) -> Band:
    """Return the seconds that an update waits for its gradients, early ones or late."""
    early = [
        exposed_s(way, topology, machine, backward_s=BACKWARD * compute_s)
        for way in gradients.early
    ]
    late = wire_s(gradients.late, topology, machine)
    return Band(min(*early, late), late)


def update(cluster: Cluster, gradients: Gradients, phase: Phase, size: int) -> Band:
    """Return the seconds of one update of a phase on ``size`` ranks of the cluster."""
    share = phases.share(phase, size)
    images = share.most * phase.per_worker
    compute = cluster.compute_s * images / cluster.compute_images
    if share.active == 1:
        return Band(compute, compute)
    machine, topology = Machine.load(cluster.machine), place(cluster, share.active)
    waited = waits(gradients, topology, machine, compute_s=compute)
    return Band(compute + waited.least, compute + waited.most)


def run(
    bands: list[Band], parts: list[Phase], *, span: float, epochs: int, training: int
) -> Band:
    """Return the seconds of all updates of a run, without evaluations and start-up."""
    ends = [phase.epoch for phase in parts[1:]] + [span]
    least = most = 0.0
    for band, phase, end in zip(bands, parts, ends, strict=True):
        updates = (end - phase.epoch) / span * epochs * training / phase.batch
        least, most = least + updates * band.least, most + updates * band.most
    return Band(least, most)


def scaling(cluster: Cluster, gradients: Gradients) -> list[Scaling]:
    """Set the cluster's published rates beside what its links explain.

    One row is calibrated with one residual; all other rows test it, and may fail.
    """
    base_size, base_rate = cluster.rates[0]
    images, compute = cluster.compute_images, cluster.compute_s
    base_s = images * base_size / base_rate
    machine = Machine.load(cluster.machine)
    rows: list[Scaling] = []
    for size, rate in cluster.rates[1:]:
        topology = place(cluster, size)
        waited = waits(gradients, topology, machine, compute_s=compute)
        most, least = (base_s / (compute + seconds) for seconds in waited)
        residual = images * size / rate - compute - waited.most
        first = rows[0].residual_s if rows else residual
        rows.append(
            Scaling(
                size,
                efficiency(rate, size, base_rate=base_rate, base_size=base_size),
                Band(least, min(1.0, most)),
                residual,
                base_s / (compute + waited.most + first),
            )
        )
    return rows
