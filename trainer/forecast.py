"""Forecast a published run: what its ranks send, and how long it takes at best.

The time of an update lies between two bounds, computed from the makers' figures of the
links: communication entirely hidden behind computation, and not hidden at all.  No
published figure follows from that: stragglers, input and launches are not in it, and
runs were slower by 5 to 15 %.  So the forecast is a band, printed beside the published
figure, and never an agreement with it.

Besides messages our costs count the additions (``gamma``: 0.2 ms an update on ABCI).
``hierarchical`` sums its leaders by halving and doubling, not by Jia et al.'s ring.
The latency of the last bucket, which nothing can hide, is not in the lower bound.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from collectives import Chunk, Exchange, GroupCall, Machine, Topology, algorithms
from trainer import fusion, phases
from trainer.fields import Model, Reduction
from trainer.phases import Phase
from trainer.published import Cluster

ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4}
EXPANSION = 4  # channels out of a bottleneck, in widths


class Parameters(NamedTuple):
    """Parameters of a network by kind of layer."""

    conv: int
    norm: int
    fc: int

    @property
    def total(self) -> int:
        """All of them.

        >>> parameters(Model())
        Parameters(conv=23454912, norm=53120, fc=2049000)
        >>> parameters(Model()).total
        25557032
        """
        return sum(self)


class Call(NamedTuple):
    """One allreduce: of one bucket, or of all gradients at once."""

    algorithm: str
    nbytes: int  # in the dtype in which they travel


class Traffic(NamedTuple):
    """What rank 0 does in an allreduce, or in several."""

    steps: int  # messages and calls of the node's engine
    nbytes: int  # sent in messages


class Band(NamedTuple):
    """Seconds: with all communication hidden, and with none."""

    least: float
    most: float


class Scaling(NamedTuple):
    """Weak-scaling efficiency on ``size`` workers: published, and as computed."""

    size: int
    published: float
    band: Band  # communication not hidden, and hidden: lowest and highest efficiency
    residual_s: float  # of a published update that the sum of both does not explain
    fitted: float  # with the residual of the first row, which is calibrated on it


def efficiency(rate: float, size: int, *, base_rate: float, base_size: int) -> float:
    """Return the weak-scaling efficiency of ``size`` workers at ``rate`` images/s.

    It means something only beside its base: never compare across bases.

    >>> round(efficiency(556522, 1024, base_rate=2565, base_size=4), 5)
    0.84753
    """
    return rate / (size / base_size * base_rate)


def tensors(model: Model) -> Iterator[tuple[str, int]]:
    """Yield kind and number of parameters of each tensor, in the network's order."""
    yield "conv", 3 * 7 * 7 * model.width
    yield from [("norm", model.width)] * 2
    channels = model.width
    for stage, blocks in enumerate(model.blocks):
        width = model.width << stage
        out = EXPANSION * width
        for block in range(blocks):
            shapes = [(channels * width, width), (9 * width * width, width)]
            shapes.append((width * out, out))
            if block == 0:  # the projection shortcut
                shapes.append((channels * out, out))
            for weights, normalised in shapes:
                yield "conv", weights
                yield from [("norm", normalised)] * 2
            channels = out
    yield "fc", channels * model.classes
    yield "fc", model.classes


def parameters(model: Model) -> Parameters:
    """Count the parameters of a bottleneck ResNet."""
    counts = dict.fromkeys(Parameters._fields, 0)
    for kind, count in tensors(model):
        counts[kind] += count
    return Parameters(**counts)


def arrivals(model: Model) -> list[int]:
    """Return the parameters of each tensor, in the order of the backward pass."""
    return [count for _, count in tensors(model)][::-1]


def cuts(counts: list[int], reduction: Reduction) -> list[list[int]]:
    """Return the buckets of float32 gradients of so many elements, as indices."""
    return fusion.layout(
        [(ITEMSIZE["float32"] * count, "float32") for count in counts],
        first_nbytes=reduction.first_bucket_bytes,
        nbytes=reduction.bucket_bytes,
    )


def calls(model: Model, reduction: Reduction, default: str) -> list[Call]:
    """Return an update's allreduces: all at once, or by bucket where bytes decide.

    ``default`` is the algorithm where the recipe says "auto".
    """
    itemsize = ITEMSIZE[reduction.wire or "float32"]
    counts = arrivals(model)
    whole = [list(range(len(counts)))]
    found = []
    for cut in cuts(counts, reduction) if reduction.switch_bytes else whole:
        count = sum(counts[i] for i in cut)
        name = fusion.algorithm(reduction, ITEMSIZE["float32"] * count)
        found.append(Call(default if name == "auto" else name, count * itemsize))
    return found


def gradient_bytes(model: Model, wire: str | None) -> int:
    """Return the bytes of all gradients in the dtype in which they travel."""
    return parameters(model).total * ITEMSIZE[wire or "float32"]


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


def update(cluster: Cluster, calls: Sequence[Call], phase: Phase, size: int) -> Band:
    """Return the seconds of one update of a phase on ``size`` ranks of the cluster."""
    share = phases.share(phase, size)
    images = share.most * phase.per_worker
    compute = cluster.compute_s * images / cluster.compute_images
    wire = 0.0
    if share.active > 1:
        topology = place(cluster, share.active)
        wire = wire_s(calls, topology, Machine.load(cluster.machine))
    return Band(max(compute, wire), compute + wire)


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


def scaling(cluster: Cluster, calls: Sequence[Call]) -> list[Scaling]:
    """Set the cluster's published rates beside what its links explain.

    One row is calibrated with one residual; all other rows test it, and may fail.
    """
    base_size, base_rate = cluster.rates[0]
    images, compute = cluster.compute_images, cluster.compute_s
    base_s = images * base_size / base_rate
    rows: list[Scaling] = []
    for size, rate in cluster.rates[1:]:
        machine = Machine.load(cluster.machine)
        wire = wire_s(calls, place(cluster, size), machine)
        residual = images * size / rate - compute - wire
        first = rows[0].residual_s if rows else residual
        rows.append(
            Scaling(
                size,
                efficiency(rate, size, base_rate=base_rate, base_size=base_size),
                Band(base_s / (compute + wire), min(1.0, base_s / max(compute, wire))),
                residual,
                base_s / (compute + wire + first),
            )
        )
    return rows
