import pytest
import torch
from test_loop import execute, start

from trainer import bn, recompute

RECOMPUTE = ["--bn.evaluate", "recompute"]


def run_of(output, *flags):
    run = start(output, "--max-steps", "2", "--batch.per_worker", "64", *flags)
    assert execute(run) == 0
    return run


@pytest.fixture
def run(tmp_path):
    return run_of(tmp_path, *RECOMPUTE, "--bn.recompute_batches", "3")


def test_recomputed_statistics_are_those_of_the_present_weights(run):
    run.sampler.start(epoch=run.epoch)
    batches = [images for images, _ in run.batches][:3]
    model, first, rows = run.model, run.model.bn1, []
    with torch.no_grad():
        for images in batches:
            seen = model.conv1(images).transpose(0, 1).flatten(1).double()
            mean, variance = seen.mean(1), seen.var(1)
            rows.append(torch.stack([mean, variance + mean**2]))
    mean, square = torch.stack(rows).mean(0)
    with recompute.statistics(run, run.model):
        inside = first.running_mean.clone(), first.running_var.clone()
    torch.testing.assert_close(inside[0].double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(inside[1].double(), square - mean**2, rtol=1e-5, atol=0)
    assert not torch.allclose(first.running_var, inside[1])


def test_afterwards_all_is_as_it_was(run):
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    decays = [m.momentum for m in run.model.modules() if hasattr(m, "running_mean")]
    run.sampler.start(epoch=3, samples_seen=64)
    with pytest.raises(ArithmeticError), recompute.statistics(run, run.model):
        assert not torch.equal(run.model.bn1.running_mean, before["bn1.running_mean"])
        raise ArithmeticError
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    after = [m.momentum for m in run.model.modules() if hasattr(m, "running_mean")]
    assert after == decays
    assert (run.sampler.epoch, run.sampler.samples_seen) == (3, 64)


def test_training_does_not_notice(tmp_path):
    flags = ["--max-steps", "25", "--batch.per_worker", "128"]
    runs = [start(tmp_path / mode, *flags, "--bn.evaluate", mode)
            for mode in ("moving", "recompute")]  # fmt: skip
    for run in runs:
        execute(run)
    one, other = (run.model.state_dict() for run in runs)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    assert runs[0].result["loss"] != runs[1].result["loss"]


def test_more_updates_than_an_epoch_has_are_one_epoch(run):
    values = run.settings.recipe
    object.__setattr__(values.bn, "recompute_batches", 10**6)
    with recompute.statistics(run, run.model):
        many = bn.flatten(run.model)
    object.__setattr__(values.bn, "recompute_batches", run.sampler.updates(0))
    with recompute.statistics(run, run.model):
        assert torch.equal(bn.flatten(run.model), many)


def test_a_finished_run_is_evaluated_alike_again(tmp_path):
    flags = ["--epochs", "1", *RECOMPUTE]
    first = start(tmp_path, *flags)
    execute(first)
    second = start(tmp_path, *flags, "--resume", "auto")
    execute(second)
    assert second.images == 0
    assert second.result == first.result
