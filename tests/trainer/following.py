"""Follow an optimiser, and a formula in float64, over the same weights and gradients.

The weights are of several shapes; one tensor begins as zeros, one never has a gradient
but zeros.  They are in two groups, which have options of their own.
"""

import numpy as np
import torch
from torch import nn

SHAPES = [(4, 3, 2, 2), (7,), (5, 6), (3,)]
GROUPS = [[0, 2], [1, 3]]  # tensors of each


def weights(seed=1):
    generator = np.random.default_rng(seed)
    values = [generator.normal(size=shape) for shape in SHAPES]
    values[3][...] = 0.0
    return values


def gradients(updates, seed=2):
    """Return the gradients of each update."""
    generator = np.random.default_rng(seed)
    rows = [[generator.normal(size=s) for s in SHAPES] for _ in range(updates)]
    for row in rows:
        row[2][...] = 0.0
    return rows


def parameters(values, dtype=torch.float64):
    return [nn.Parameter(torch.tensor(v, dtype=dtype)) for v in values]


def grouped(tensors, options):
    """Return the groups of ``GROUPS`` with the options of each."""
    return [
        {"params": [tensors[i] for i in members], **own}
        for members, own in zip(GROUPS, options, strict=True)
    ]


def update(optimizer, tensors, row, changes):
    """Make one update, after changing options of all groups."""
    for tensor, gradient in zip(tensors, row, strict=True):
        dtype = tensor.dtype
        tensor.grad = torch.as_tensor(gradient).to(dtype)
    for group in optimizer.param_groups:
        group.update(changes)
    optimizer.step()


def follow(kind, options, changes, *, dtype=torch.float64, **common):
    """Return the weights after an update for each of ``changes``."""
    tensors = parameters(weights(), dtype)
    optimizer = kind(grouped(tensors, options), **{**common, **changes[0]})
    for row, change in zip(gradients(len(changes)), changes, strict=True):
        update(optimizer, tensors, row, change)
    return [tensor.detach().double().numpy() for tensor in tensors]


def expected(formula, options, changes, **common):
    """Return the same by a formula of `references`."""
    values = weights()
    memory = [{} for _ in values]
    for row, change in zip(gradients(len(changes)), changes, strict=True):
        for members, own in zip(GROUPS, options, strict=True):
            for i in members:
                settings = {**common, **own, **change}
                values[i] = formula(values[i], row[i], memory[i], **settings)
    return values


def assert_close(got, wanted, rel=1e-12):
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=rel, atol=rel)
