"""A batch that changes on the way, shared by any number of ranks."""

import json
from pathlib import Path

import pytest
import torch

from trainer import loop
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.run import execute
from trainer.settings import parse
from trainer.start import prepare

pytestmark = pytest.mark.mpi

TINY = [
    "--model.width", "4", "--model.blocks", "[1]", "--images.size", "16",
    "--epochs", "2", "--optimizer.lr", "0.02",
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


def told(output):
    lines = Path(output, "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_ranks_that_idle_are_traced_compared_and_told_of_the_batch(comm, tmp_path):
    output = comm.broadcast_object(str(tmp_path), root=0)
    path = Path(output, "trace.json")
    phases = "[[0,160,160],[45,320,160]]"  # 1 microbatch, then 2
    flags = ["--batch.phases", phases, "--trace", str(path), "--log-every", "3"]
    settings = parse([*TINY, *flags, "--output", output])
    run = prepare(comm, settings, Place(), Interrupt())
    assert execute(run) == 0
    comm.barrier()
    events = told(output)
    updates = 1437 // 160 + 1437 // 320
    (change,) = (event for event in events if event["event"] == "phase")
    assert (change["epoch"], change["batch"], change["per_worker"]) == (1, 320, 160)
    assert run.step == events[-1]["step"] == updates
    reports = [event for event in events if event["event"] == "stragglers"]
    if comm.size > 1:
        assert reports[0]["updates"] == updates
        assert len(reports[0]["compute_s"]) == comm.size
    spans = [
        event["tid"] // 8
        for event in json.loads(path.read_text("utf-8"))["traceEvents"]
        if event["name"] == "update"
    ]
    assert [spans.count(rank) for rank in range(comm.size)] == [updates] * comm.size
