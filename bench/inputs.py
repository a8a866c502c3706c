"""Inputs whose exact reduction is known, whatever the order of the operations.

All ranks contribute different numbers, which depend on the element's index, so that an
omitted, doubled or misplaced contribution shows.  They are bounded so that no partial
result of any order is rounded:

    sum, mean   integers 1 .. m, m prime, different on all ranks while m >= p; p m is
                within the integers that the type holds exactly: 2048 for float16.  The
                mean is rounded once or twice: errors up to 1.5 units in the last place
                pass, and sums are so small that a wrong one is farther off.
    prod        plus or minus 2 or 1/2 from a few ranks, which change with the index,
                and -1 from the others; odd numbers modulo 256 for uint8
    min, max    integers 1 .. m; neither can tell how often it saw the extreme

Where ranks are so many that not even twos could be summed exactly, only every s-th one
contributes to an element, others to the next; the rest have zero there.  The pattern
repeats after ``PERIOD`` elements.

The idea is that of NVIDIA's nccl-tests (verifiable/verifiable.h).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .elements import SIGNIFICAND, decode, encode, storage

PERIOD = 9_973  # prime: no chunk is likely to be moved by a multiple of it
WIDEST = 251  # contributions to sums, at most; bfloat16 has all integers up to 256
STRONG = 14  # factors of two in a product: float16 has 2**-14 .. 2**15


@dataclass(frozen=True)
class Inputs:
    """What ``size`` ranks contribute to a reduction by ``op``, and its result."""

    dtype: str
    op: str
    size: int
    seed: int = 0

    def fill(self, data: np.ndarray, rank: int) -> None:
        """Write the contribution of ``rank`` into a buffer."""
        pattern = encode(self.dtype, self.contribution(rank))
        for part in periods(data):
            part[:] = pattern[: part.size]

    def wrong(self, data: np.ndarray) -> int:
        """Count the elements of a buffer that differ from the exact result."""
        return sum(self.wrong_in(part) for part in periods(data))

    def wrong_in(self, part: np.ndarray) -> int:
        """Count wrong elements in at most one period, from its beginning."""
        if self.op != "mean":
            return int(np.count_nonzero(part != self.expected[: part.size]))
        exact = self.total[: part.size] / self.size
        unit = 2.0 ** (1 - SIGNIFICAND[self.dtype]) * exact
        near = np.abs(decode(self.dtype, part) - exact) <= 1.5 * unit
        return int(np.count_nonzero(~near))  # NaN is not near

    @cached_property
    def expected(self) -> np.ndarray:
        """One period of the exact result, as storage."""
        return encode(self.dtype, self.total)

    @cached_property
    def total(self) -> np.ndarray:
        """One period of the exact result, the mean as sum; uint8 products wrap."""
        ufunc = {"prod": np.multiply, "min": np.minimum, "max": np.maximum}
        combine = ufunc.get(self.op, np.add)
        total = self.contribution(0)
        for rank in range(1, self.size):
            combine(total, self.contribution(rank), out=total)
        return total

    def contribution(self, rank: int) -> np.ndarray:
        """Return one period of the numbers of ``rank``."""
        if self.op == "prod":
            return self.factor(rank)
        # Lines modulo a prime: two ranks never meet, and no two elements are alike.
        first, slope, _ = self.hashes
        step = 1 + slope % (self.modulus - 1)
        values: np.ndarray = 1 + (first + step * rank) % self.modulus
        if self.stride > 1:
            values[(np.arange(PERIOD) + rank) % self.stride != 0] = 0
        return values

    def factor(self, rank: int) -> np.ndarray:
        """Return one period of the factors of ``rank``."""
        first, slope, bits = self.hashes
        mixed: np.ndarray = first + slope * rank
        if self.dtype == "uint8":
            return 3 + 2 * (mixed % 61)
        powers = [-2.0, 2.0]
        strong = 8 * storage(self.dtype).itemsize - 2
        if self.dtype in SIGNIFICAND:
            powers, strong = [-2.0, 2.0, -0.5, 0.5], STRONG
        chosen = np.array(powers)[(mixed ^ bits) // 8 % len(powers)]
        return np.where((rank + first) % self.size < strong, chosen, -1.0)

    @cached_property
    def limit(self) -> int:
        """Largest sum that is exact, or whose mean can be told from a wrong one."""
        bits = SIGNIFICAND.get(self.dtype)
        if bits is None:
            return int(np.iinfo(self.dtype).max)
        return 1 << (bits - 4 if self.op == "mean" else bits)

    @cached_property
    def stride(self) -> int:
        """One rank in so many contributes to an element: all, unless they are many."""
        if self.op in ("min", "max"):
            return 1
        return ceil_div(self.size, self.limit // 2)

    @cached_property
    def modulus(self) -> int:
        """How many different contributions there are: a prime."""
        summed = 1 if self.op in ("min", "max") else ceil_div(self.size, self.stride)
        room = min(WIDEST, self.limit // summed)
        return next(n for n in range(room, 1, -1) if prime(n))

    @cached_property
    def hashes(self) -> np.ndarray:
        """Three random numbers below 2**31 for each element of a period, ``(3, n)``."""
        return np.random.default_rng(self.seed).integers(0, 1 << 31, (3, PERIOD))


def periods(data: np.ndarray) -> list[np.ndarray]:
    """Cut a buffer into parts that begin where the pattern does."""
    return [data[i : i + PERIOD] for i in range(0, data.size, PERIOD)]


def ceil_div(a: int, b: int) -> int:
    """Return ``a / b`` rounded up."""
    return -(-a // b)


def prime(n: int) -> bool:
    """Say whether ``n >= 2`` is a prime number."""
    return all(n % d for d in range(2, int(n**0.5) + 1))
