"""Ranks of one process whose group calls NCCL's engines carry out."""

import random

import fake_cupy
from network import Network

from collectives import device
from collectives.arrays import DTYPES
from collectives.chunk import Chunk
from collectives.step import GroupCall
from collectives.transports.nccl import Nccl

FLOAT32 = DTYPES["float32"]


class Ranks:
    """The engines of ranks that share this process."""

    def __init__(self, gpu, p, seed=0):
        gpu.random.seed(seed)
        self.p, self.random = p, random.Random(seed)
        network = Network(self.random)
        self.engines = [Nccl(network.point(r), device.Queue()) for r in range(p)]

    def array(self, rank, values):
        with self.engines[rank].queue.kernels:
            return fake_cupy.asarray(values)

    def start(self, kind, arrays, dtype=FLOAT32, op="sum", root=None):
        """Start a call of all ranks that have an array."""
        chunk = Chunk(0, arrays[0].size)
        call = GroupCall(kind, tuple(range(self.p)), chunk, root)
        return [
            self.engines[rank].start(call, x, dtype, op)
            for rank, x in enumerate(arrays)
        ]

    def advance(self, steps, looks=20_000):
        """Carry on in a random order; say whether all has ended."""
        for _ in range(looks):
            if all(one.complete for one in steps):
                return True
            self.random.choice(steps).Test()
        return False

    def call(self, kind, arrays, **options):
        assert self.advance(self.start(kind, arrays, **options))
