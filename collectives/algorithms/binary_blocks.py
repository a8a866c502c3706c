"""Binary blocks: halving and doubling for any p, without folding all the data.

The set bits of p are blocks of ranks, the largest first: 6 = 4 + 2.

    steps  log2 l + 2 l / s + log2 s for two blocks of l > s ranks
    bytes sent per rank  about n (1 - 1 / l + 1 / s + 1)
    cost   the time of the slowest rank, followed through the blocks by `cost`

1. Every block does its own reduce-scatter by recursive halving.
2. From the smallest block upward: a rank of the small block owns what l / s ranks of
   the next larger one own together, and sends each its part:  4 -> 0, 2   5 -> 1, 3
3. The sums come back along the same links, and each block does its allgather.

Good where p has few and close bits (6, 12, 24, 48), bad at 2^k + 1.

R. Rabenseifner, J. L. Traeff: More efficient reduction algorithms for non-power-of-two
number of processors in message-passing parallel systems.  EuroPVM/MPI 2004, LNCS 3241,
36-46.  https://doi.org/10.1007/978-3-540-30218-6_13
"""

from ..chunk import Chunk
from ..machine import Link, Machine
from ..step import Exchange, Schedule, receive, send
from ..topology import Topology
from .halving_doubling import halves
from .recursive_doubling import powers


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    group = topology.order
    blocks = binary_blocks(len(group))
    i = group.index(rank)
    b = next(b for b, block in enumerate(blocks) if i in block)
    block, j = blocks[b], i - blocks[b].start
    finest = len(blocks[0])
    windows = [(0, finest)]
    for mask in powers(len(block)):
        windows.append(halves(windows[-1], upper=bool(j & mask))[0])
    mine = chunk.pieces(*windows[-1], finest)

    def halving(mask: int, window: tuple[int, int]) -> tuple[int, Chunk, Chunk]:
        keep, give = halves(window, upper=bool(j & mask))
        partner = group[block.start + (j ^ mask)]
        return partner, chunk.pieces(*give, finest), chunk.pieces(*keep, finest)

    masks = powers(len(block))
    for mask, window in zip(masks, windows[:-1], strict=True):
        partner, give, keep = halving(mask, window)
        yield Exchange(partner, give, partner, keep, reduce=True)
    smaller = None
    if b + 1 < len(blocks):
        smaller = group[blocks[b + 1].start + j % len(blocks[b + 1])]
        yield receive(smaller, mine, reduce=True)
    if b > 0:
        larger = blocks[b - 1]
        targets = parts(windows[-1], j, len(block), len(larger))
        for target, window in targets:
            yield send(group[larger.start + target], chunk.pieces(*window, finest))
        for target, window in targets:
            yield receive(group[larger.start + target], chunk.pieces(*window, finest))
    if smaller is not None:
        yield send(smaller, mine)
    for mask, window in zip(reversed(masks), reversed(windows[:-1]), strict=True):
        partner, give, keep = halving(mask, window)
        yield Exchange(partner, keep, partner, give)


def binary_blocks(p: int) -> list[range]:
    """Return the places of each block, largest block first.

    >>> binary_blocks(6)
    [range(0, 4), range(4, 6)]
    """
    blocks, start = [], 0
    for bit in reversed(range(p.bit_length())):
        if p >> bit & 1:
            blocks.append(range(start, start + (1 << bit)))
            start += 1 << bit
    return blocks


def parts(
    window: tuple[int, int], j: int, small: int, large: int
) -> list[tuple[int, tuple[int, int]]]:
    """Cut the window of rank ``j`` of the small block along the large block's windows.

    Returns the ranks of the large block, each with its window, by increasing offset.
    """
    owners = [(j, window)]
    for bit in powers(large)[small.bit_length() - 1 :]:
        split = [(k, halves(w, upper=False)) for k, w in owners]
        owners = [
            pair for k, (low, high) in split for pair in ((k, low), (k | bit, high))
        ]
    return owners


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds: the climb through the blocks, and the slowest allgather."""
    link = machine.flat(topology, crossing=1)
    sizes = [len(block) for block in binary_blocks(topology.size)]
    finished: list[float] = []

    def gathering(size: int) -> float:
        return halving_seconds(size, nbytes, link, 0.0)

    def ready(b: int) -> float:
        return halving_seconds(sizes[b], nbytes, link, machine.gamma)

    def climb(b: int, start: float) -> float:
        """Return when a rank of block ``b``, ready at ``start``, has its sum."""
        if b == 0:
            return start
        count, piece = sizes[b - 1] // sizes[b], nbytes / sizes[b - 1]
        message, now, sums = link.alpha + piece * link.beta, start, []
        for _ in range(count):
            now = max(now, ready(b - 1)) + message
            sums.append(climb(b - 1, now + piece * machine.gamma))
        for at in sums:
            now = max(now, at) + message
            finished.append(now + gathering(sizes[b - 1]))
        return now

    last = len(sizes) - 1
    finished.append(climb(last, ready(last)) + gathering(sizes[last]))
    return max(finished)


def halving_seconds(p: int, nbytes: float, link: Link, gamma: float) -> float:
    """Return seconds of recursive halving, or doubling (no gamma), on 2^k ranks."""
    steps = p.bit_length() - 1
    return steps * link.alpha + (p - 1) / p * nbytes * (link.beta + gamma)
