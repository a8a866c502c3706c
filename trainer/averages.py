"""The running averages of each worker, a worker being a microbatch of an update.

On p ranks with a microbatch each, p sets of running averages are updated once in an
update.  A rank that accumulates k microbatches has a row for each of the k, so that
this is the same mathematics on any number of ranks::

    model    the row of the microbatch under way
    table    (k, m): rows of all, m being all running means, then all variances

Before an evaluation all rows of all ranks become their pool (`trainer.bn`), and are
equal.  Only then the number of a rank's microbatches may change.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer import bn


class Averages:
    """The running averages of one rank's workers."""

    def __init__(self, model: nn.Module):
        """Follow a model where it is; all workers have what it has."""
        self.model = model
        self.live = bn.running(model)
        self.shared = True  # by all workers of all ranks
        self._lay(1)

    def begin(self, workers: int) -> None:
        """Have ``workers`` rows, of the microbatches of the updates that follow."""
        if self.shared:
            self._lay(workers)
            for row in self.rows:
                copy(row, self.live)
        self.shared = False

    def select(self, worker: int) -> None:
        """Let the model hold the row of this rank's microbatch number ``worker``."""
        if worker != self.held:
            copy(self.rows[self.held], self.live)
            copy(self.live, self.rows[worker])
            self.held = worker

    def own(self) -> Tensor:
        """Return this rank's rows, (k, m), where the model is."""
        if self.rows:
            copy(self.rows[self.held], self.live)
        return self.table

    def follow(self, others: "Averages", part: Any) -> None:
        """Move each row by ``part`` of the way to the same worker's of ``others``."""
        self.own().lerp_(others.own(), part)
        if self.rows:
            copy(self.live, self.rows[self.held])

    def share(self, row: Tensor) -> None:
        """Have one row in all workers; all ranks call this, with the same bits."""
        bn.unflatten(self.model, row)
        self.shared = True

    def gather(self, comm: Any, *, every: int = 1) -> Tensor | None:
        """Return rows of all workers to rank 0, in order: one if all are equal.

        ``every`` rows side by side are equal, of ranks that normalise together: one of
        these is returned.
        """
        if self.shared:
            return bn.flatten(self.model)[None]
        parts = comm.gather_objects(self.own().cpu().numpy(), root=0)
        if parts is None:
            return None
        rows = torch.from_numpy(np.concatenate(parts)[::every])
        return rows[:1].clone() if (rows == rows[0]).all() else rows

    def restore(self, rows: Tensor, *, mine: Sequence[int], of: int) -> None:
        """Go on from gathered rows, this rank's microbatches from those named ``mine``.

        Where there are not ``of`` rows but another number, they are pooled for all.
        """
        if len(rows) == 1 or len(rows) != of:
            self.share(bn.pool(rows))
            return
        self._lay(len(mine))
        self.table.copy_(rows[list(mine)])
        if self.rows:
            copy(self.live, self.rows[0])
        self.shared = False

    def _lay(self, workers: int) -> None:
        sizes = [tensor.numel() for tensor in self.live]
        like = self.live[0] if self.live else torch.empty(0)
        self.table = like.new_empty(workers, sum(sizes))
        self.rows = [row.split(sizes) for row in self.table]
        self.held = 0  # the row that the model has


def copy(to: Any, of: Any) -> None:
    """Copy lists of tensors, all at once."""
    if len(to):
        torch._foreach_copy_(to, of)
