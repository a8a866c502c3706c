"""Proof: what schedules compute, as expressions in place of numbers.

Each range of elements that no step cuts, an atom, holds one expression: a rank's
contribution, or the sum of two expressions (unordered, as addition commutes).  Whoever
adds the same contribution twice is caught in the act; in the end every atom of the
result must hold all ranks, and the same expression on all of them.
"""

import numpy as np
import numpy.typing as npt

from . import world
from .chunk import Chunk
from .errors import WrongResult
from .step import Exchange, GroupCall, Schedule, receive
from .topology import Topology

Ids = npt.NDArray[np.int32]
UNDEFINED = 0  # the expression of what a group call left undefined


class Expressions:
    """Sums as numbered expressions; rank ``r`` contributes number ``r + 1``."""

    def __init__(self, size: int) -> None:
        """Begin with the contributions of ``size`` ranks."""
        self.ranks = [0] + [1 << rank for rank in range(size)]
        self.sums: dict[tuple[int, int], int] = {}

    def add(self, a: int, b: int) -> int:
        """Return the number of ``a + b``.

        Raises:
            WrongResult: a rank is in both, or one of them is undefined.
        """
        key = (a, b) if a < b else (b, a)
        known = self.sums.get(key)
        if known is None:
            if UNDEFINED in key:
                raise WrongResult("adds elements that a group call left undefined")
            twice = self.ranks[a] & self.ranks[b]
            if twice:
                raise WrongResult(f"counts twice: {say(twice)}")
            known = self.sums[key] = len(self.ranks)
            self.ranks.append(self.ranks[a] | self.ranks[b])
        return known

    def add_arrays(self, a: Ids, b: Ids) -> Ids:
        """Return the numbers of the sums, element by element."""
        if a.size > 1 and (a == a[0]).all() and (b == b[0]).all():
            return np.full(a.size, self.add(int(a[0]), int(b[0])), np.int32)
        if a.size < 8:
            sums = [
                self.add(*pair) for pair in zip(a.tolist(), b.tolist(), strict=True)
            ]
            return np.array(sums, np.int32)
        keys, where = np.unique(a.astype(np.int64) << 32 | b, return_inverse=True)
        sums = [self.add(key >> 32, key & 0xFFFFFFFF) for key in keys.tolist()]
        return np.array(sums, np.int32)[where]


class Proof:
    """The interpreter that adds expressions: ``state[rank, atom]``.

    An atom is a range between two neighbouring cuts of any step.
    """

    def __init__(self, state: Ids, atoms: dict[int, int]) -> None:
        """Begin with ``state``; ``atoms`` numbers the cuts, in elements."""
        self.state, self.atoms = state, atoms
        self.expressions = Expressions(len(state))
        self.arriving: dict[int, Ids] = {}

    def view(self, rank: int, chunk: Chunk) -> Ids:
        """Return the atoms of a chunk."""
        return self.state[rank, self.atoms[chunk.start] : self.atoms[chunk.stop]]

    def transfer(self, src: int, dst: int, step: Exchange) -> None:
        """Freeze what is sent."""
        self.arriving[dst] = self.view(src, step.recv).copy()

    def finish(self, rank: int, step: Exchange) -> None:
        """Add or replace."""
        if step.src is None:
            return
        target, data = self.view(rank, step.recv), self.arriving[rank]
        if step.reduce:
            target[:] = self.sum(target, data, f"rank {rank} in {step}")
        else:
            target[:] = data

    def sum(self, a: Ids, b: Ids, where: str) -> Ids:
        """Return the sums; tell where they go wrong."""
        try:
            return self.expressions.add_arrays(a, b)
        except WrongResult as error:
            raise WrongResult(f"{where}: {error}") from None

    def group_call(self, call: GroupCall) -> None:
        """Do the collective; what it does not define is undefined from now on."""
        views = [self.view(rank, call.chunk) for rank in call.group]
        pieces = call.chunk.split(len(call.group))
        if call.kind == "broadcast":
            total = views[call.group.index(call.root)].copy()
        elif call.kind == "allgather":
            owners = zip(call.group, pieces, strict=True)
            total = np.concatenate([self.view(rank, piece) for rank, piece in owners])
        else:
            total = views[0].copy()
            for view in views[1:]:
                total = self.sum(total, view, str(call))
        offset = self.atoms[call.chunk.start]
        for rank, view, piece in zip(call.group, views, pieces, strict=True):
            if call.kind == "reduce_scatter":
                own = slice(*(self.atoms[end] - offset for end in piece))
                mine = total[own].copy()
                view[:] = UNDEFINED
                view[own] = mine
            elif call.kind == "reduce" and rank != call.root:
                view[:] = UNDEFINED
            else:
                view[:] = total


def prove(
    steps: list[Schedule],
    same: list[Schedule],
    topology: Topology,
    count: int,
    *,
    operation: str = "schedule",
    root: int | None = None,
) -> None:
    """Prove schedules, given twice: once to find their cuts, once to run.

    Raises:
        WrongResult: they do not compute ``operation`` (see `collectives.verify`).
        Deadlock: without buffering some ranks wait for ever.
    """
    pieces = Chunk(0, count).split(topology.size)
    whole = iter([receive(0, piece) for piece in pieces])
    atoms = world.cuts([whole, *steps])
    cuts = list(atoms)
    if cuts[0] < 0 or cuts[-1] > count:
        raise WrongResult(
            f"steps name elements of [{cuts[0]},{cuts[-1]}), the buffer has {count}"
        )
    width, size = len(atoms) - 1, topology.size
    state = np.repeat(np.arange(1, size + 1, dtype=np.int32)[:, None], width, axis=1)
    owner = np.empty(width, np.int32)
    for rank, piece in enumerate(pieces):
        owner[atoms[piece.start] : atoms[piece.stop]] = rank
    if operation == "allgather":
        state[owner[None, :] != np.arange(size)[:, None]] = UNDEFINED
    proof = Proof(state, atoms)
    world.run(same, proof)
    expected = {"allgather": owner + 1, "broadcast": np.int32((root or 0) + 1)}
    if operation in expected:
        if (state != expected[operation]).any():
            raise WrongResult(f"{operation}: a rank ends with another rank's elements")
        return
    result = state[root] if operation == "reduce" else state[0]
    if operation == "reduce_scatter":
        result = state[owner, np.arange(width)]
    check_sums(proof, result, cuts)
    if operation == "schedule":
        differ = np.argwhere(state != state[0])
        if len(differ):
            rank, atom = differ[0]
            raise WrongResult(
                f"ranks 0 and {rank} add element {cuts[atom]} in different ways"
            )


def check_sums(proof: Proof, result: Ids, cuts: list[int]) -> None:
    """Check that every atom of the result holds every rank."""
    ranks = proof.expressions.ranks
    everybody = (1 << len(proof.state)) - 1
    for number in np.unique(result).tolist():
        if ranks[number] != everybody:
            atom = int(np.argmax(result == number))
            missing = say(everybody & ~ranks[number])
            raise WrongResult(f"element {cuts[atom]} of the result lacks {missing}")


def say(ranks: int, limit: int = 8) -> str:
    """Name the ranks in a bit set."""
    found = [str(rank) for rank in range(ranks.bit_length()) if ranks >> rank & 1]
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return f"rank{'s' * (len(found) > 1)} {', '.join(found[:limit])}{more}"
