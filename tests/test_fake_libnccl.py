"""The stand-in for libnccl finds out what NCCL would not forgive."""

import fake_cupy
import fake_libnccl
import numpy as np
import pytest


def members(library, unique, p):
    return [library.join(p, unique, rank) for rank in range(p)]


def test_calls_in_different_orders_wait_for_ever(gpu, library):
    streams = [fake_cupy.Stream(gpu) for _ in range(2)]
    data = [fake_cupy.empty(4, np.float32) for _ in range(2)]
    comms = [members(library, bytes([k]), 2) for k in range(2)]
    for rank in range(2):
        for k in (0, 1) if rank == 0 else (1, 0):
            at, stream = data[rank].ptr, streams[rank].ptr
            how = 4, fake_libnccl.FLOAT32, None, 0, stream
            library.call(comms[k][rank], "broadcast", at, at, *how)
    with pytest.raises(AssertionError, match="for ever"):
        streams[0].synchronize()


def test_calls_that_differ_are_told(gpu, library):
    stream, x = fake_cupy.Stream(gpu), fake_cupy.empty(4, np.float32)
    one, other = members(library, b"9", 2)
    how = fake_libnccl.FLOAT32, None, 0, stream.ptr
    library.call(one, "broadcast", x.ptr, x.ptr, 4, *how)
    with pytest.raises(AssertionError, match="differ"):
        library.call(other, "broadcast", x.ptr, x.ptr, 3, *how)
