"""A run that begins with the weights of another, on any ranks."""

from pathlib import Path

import pytest
import torch

from collectives import InvalidArgument
from trainer import bn, checkpoint, evaluate, loop, weights
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.settings import parse
from trainer.start import prepare

pytestmark = pytest.mark.mpi

TINY = ["--model.width", "4", "--model.blocks", "[1]", "--images.size", "16"]
FIRST = ["--recipe", "codreanu2017", "--batch.phases", "[[0,256,64]]", "--epochs", "2"]
COLLAPSE = ["--recipe", "codreanu2017:collapse", "--max-steps", "2"]


def prepared(comm, output, *flags):
    settings = parse([*TINY, *flags, "--output", str(output)])
    return prepare(comm, settings, Place(), Interrupt())


def trained(run):
    loop.train(run)
    run.recorder.close()
    return run


def loss(run):
    return evaluate.measure(run.model, run.test_batches, run.comm).loss


def assert_same_weights(one, other):
    for name, mine in one.model.named_parameters():
        assert torch.equal(mine, other.model.get_parameter(name)), name


def test_a_collapse_begins_with_the_weights_of_the_run_before(comm, tmp_path):
    output = Path(comm.broadcast_object(str(tmp_path), root=0))
    before = trained(prepared(comm, output / "before", *FIRST))
    flags = *COLLAPSE, "--start-from", str(output / "before")
    run = prepared(comm, output / "collapse", *flags)
    assert loss(run) == loss(before) == before.result["loss"]
    assert_same_weights(run, before)
    assert torch.equal(bn.flatten(run.model), bn.flatten(before.model))
    assert (run.epoch, run.step, run.samples_seen) == (0, 0, 0)
    assert not run.optimizer.state
    trained(run)
    again = prepared(comm, output / "collapse", *flags, "--resume", "auto")
    assert again.step == 2 and again.optimizer.state
    assert_same_weights(again, run)
    again.recorder.close()


def test_workers_that_differ_are_pooled_for_all_ranks(comm, tmp_path):
    output = Path(comm.broadcast_object(str(tmp_path), root=0))
    trained(prepared(comm, output / "before", *FIRST, "--max-steps", "3"))
    comm.barrier()
    content = checkpoint.read(checkpoint.existing(str(output / "before")))
    assert len(content["buffers"]) == 4
    flags = *COLLAPSE, "--start-from", str(output / "before")
    run = prepared(comm, output / "collapse", *flags)
    run.recorder.close()
    found = run.model.state_dict()
    for name, tensor in weights.of(content).items():
        assert torch.equal(tensor, found[name]), name


def test_another_network_is_refused_before_anything_is_written(comm, tmp_path):
    output = Path(comm.broadcast_object(str(tmp_path), root=0))
    trained(prepared(comm, output / "before", *FIRST, "--max-steps", "1"))
    flags = "--start-from", str(output / "before"), "--model.width", "8"
    words = "^--start-from: .* another network: --model.width 4 there, 8 here; give"
    with pytest.raises(InvalidArgument, match=words):
        prepared(comm, output / "collapse", *COLLAPSE, *flags)
    assert not (output / "collapse").exists()
