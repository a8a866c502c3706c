"""Mixed radix: reduce-scatter over the prime factors of p, allgather back.

    steps  2 sum (f - 1) over the factors f     bytes sent per rank  2 n (p - 1) / p
    cost   sum over f of (f - 1) (2 alpha + m (2 beta + gamma)),    [seconds]
           m = n / (product of the factors so far, f included)

The ring (one factor p), halving and doubling (all factors 2), the 2D torus (two
factors) and the split-rail hierarchy are members of this family; here the factors are
primes, those of the node first.  Six ranks, 6 = 2 x 3: halves between 0-1, 2-3, 4-5;
then thirds of these among 0-2-4 and 1-3-5.

A factor of up to ``DIRECT`` is served directly, everybody to everybody, and a larger
one as a ring; both take f - 1 messages.  gloo calls the direct form bcube:
https://github.com/pytorch/gloo/blob/main/docs/algorithms.md
"""

from collections.abc import Sequence

from ..chunk import Chunk
from ..machine import Link, Machine
from ..step import Exchange, Schedule
from ..topology import Topology
from . import ring

DIRECT = 5


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    return allreduce(topology.order, rank, chunk, factors=radices(topology))


def radices(topology: Topology) -> list[int]:
    """Return the factors of p: those of a node first, so that no group straddles two.

    >>> radices(Topology.uniform(nodes=3, local=10))
    [2, 5, 3]
    """
    sizes = {len(node) for node in topology.nodes}
    if len(sizes) > 1:
        return prime_factors(topology.size)
    return prime_factors(sizes.pop()) + prime_factors(len(topology.nodes))


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above.

    As in halving and doubling the far dimensions move less, by as many ranks at once.
    """
    link = machine.flat(topology, crossing=1)
    return allreduce_cost(topology.size, nbytes, link, machine.gamma)


def allreduce(
    group: Sequence[int],
    rank: int,
    chunk: Chunk,
    *,
    factors: Sequence[int] = (),
    direct: int = DIRECT,
) -> Schedule:
    """Sum ``chunk`` over ``group``; factors above ``direct`` go round in a ring.

    ``factors`` multiply to the size of the group; none: its prime factors.
    """
    i, stride, window = group.index(rank), 1, chunk
    stages: list[tuple[list[int], list[Chunk]]] = []
    for factor in factors or prime_factors(len(group)):
        k = i // stride % factor
        line = [group[i + (j - k) * stride] for j in range(factor)]
        pieces = window.split(factor)
        steps = direct_scatter if factor <= direct else ring.scatter_steps
        yield from steps(line, rank, pieces)
        stages.append((line, pieces))
        window, stride = pieces[k], stride * factor
    for line, pieces in reversed(stages):
        steps = direct_gather if len(line) <= direct else ring.gather_steps
        yield from steps(line, rank, pieces)


def direct_scatter(
    group: Sequence[int], rank: int, pieces: Sequence[Chunk]
) -> Schedule:
    """Reduce-scatter with a message from everybody to everybody."""
    f, i = len(group), group.index(rank)
    for k in range(1, f):
        to = (i + k) % f
        yield Exchange(group[to], pieces[to], group[i - k], pieces[i], reduce=True)


def direct_gather(group: Sequence[int], rank: int, pieces: Sequence[Chunk]) -> Schedule:
    """Allgather with a message from everybody to everybody."""
    f, i = len(group), group.index(rank)
    for k in range(1, f):
        yield Exchange(group[(i + k) % f], pieces[i], group[i - k], pieces[i - k])


def prime_factors(n: int) -> list[int]:
    """Return the prime factors in increasing order.

    >>> prime_factors(60)
    [2, 2, 3, 5]
    """
    factors, divisor = [], 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            factors.append(divisor)
            n //= divisor
        divisor += 1
    return factors + ([n] if n > 1 else [])


def allreduce_cost(p: int, nbytes: float, link: Link, gamma: float) -> float:
    """Return seconds for ``p`` ranks on one kind of link."""
    seconds, piece = 0.0, nbytes
    for factor in prime_factors(p):
        piece /= factor
        seconds += (factor - 1) * (2 * link.alpha + piece * (2 * link.beta + gamma))
    return seconds
