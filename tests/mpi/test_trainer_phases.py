"""A batch that changes on the way, shared by any number of ranks."""

import pytest
import torch

from trainer import loop
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.settings import parse
from trainer.start import prepare

pytestmark = pytest.mark.mpi

TINY = [
    "--model.width", "4", "--model.blocks", "[1]", "--images.size", "16",
    "--images.resize", "16", "--epochs", "2", "--optimizer.lr", "0.02",
    "--noise_scale.reading", "smith_le", "--noise_scale.reference_batch", "96",
]  # fmt: skip
PHASES = "[[0,96,16],[45,160,32]]"  # 6 microbatches, then 5


def trained(comm, output, *flags):
    settings = parse([*TINY, *flags, "--output", str(output)])
    run = prepare(comm, settings, Place(), Interrupt())
    loop.train(run)
    run.recorder.close()
    return run


def test_any_number_of_ranks_trains_the_phases_of_one(comm, tmp_path):
    output = comm.broadcast_object(str(tmp_path), root=0)
    together = trained(comm, output, "--batch.phases", PHASES)
    alone = comm.split(comm.rank)
    one = trained(alone, tmp_path / "alone", "--batch.phases", PHASES)
    alone.close()
    assert together.step == one.step == 1437 // 96 + 1437 // 160
    assert together.optimizer.param_groups[0]["momentum"] == pytest.approx(0.94)
    for mine, theirs in zip(
        together.model.parameters(), one.model.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=2e-3)
    everyone = comm.allgather(
        torch.cat([p.detach().flatten() for p in together.model.parameters()])
    )
    assert (everyone == everyone[0]).all()
