import numpy as np
import pytest
import torch
from test_loop import events, start, state
from torch import nn

from trainer import evaluate
from trainer.averages import Averages
from trainer.ema import Ema
from trainer.run import execute

AVERAGED = "--ema_decay", "0.9"


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten())


def moved(model, update):
    """Give the model other weights and running averages."""
    random = torch.Generator().manual_seed(update)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=random))


def flat(model):
    tensors = [t for t in model.state_dict().values() if t.is_floating_point()]
    return torch.cat([t.flatten() for t in tensors]).double().numpy()


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)]
)
def test_averages_follow_the_formula(decay, dtype, tolerance):
    model = network().to(dtype)
    ema, averages, expected = Ema(model, decay), Averages(model), flat(model)
    for update in range(20):
        moved(model, update)
        ema.update(averages)
        expected = decay * expected + (1 - decay) * flat(model)
    np.testing.assert_allclose(flat(ema.model), expected, rtol=0, atol=tolerance)
    assert {t.dtype for t in ema.parameters} == {dtype}


def test_a_skipped_update_moves_nothing():
    model = network()
    ema, other, averages = Ema(model, 0.9), Ema(model, 0.9), Averages(model)
    moved(model, 1)
    ema.update(averages, torch.ones(()))
    other.update(averages)
    moved(model, 2)
    ema.update(averages, torch.zeros(()))
    assert (flat(ema.model) == flat(other.model)).all()


def test_each_worker_s_running_averages_are_averaged_by_themselves():
    model = network()
    ema, averages = Ema(model, 0.75), Averages(model)
    before = averages.own()[0].clone()
    for part in (averages, ema.averages):
        part.begin(3)
    for worker in range(3):
        averages.select(worker)
        moved(model, worker)
    ema.update(averages)
    expected = 0.75 * before + 0.25 * averages.own()
    torch.testing.assert_close(ema.averages.own(), expected)
    assert torch.equal(ema.averages.own(), ema.averages.own())  # the model has one


def same(one, other):
    """Whether two checkpoints hold the same bits, averages and weights."""
    for key in ("ema", None):
        mine, theirs = (c[key] if key else c for c in (one, other))
        for name, tensor in mine["model"].items():
            assert torch.equal(tensor, theirs["model"][name]), (key, name)
        assert torch.equal(mine["buffers"], theirs["buffers"])
    return True


@pytest.mark.parametrize("steps", [3, 11, 13])
def test_a_stopped_run_continues_to_the_same_averages(tmp_path, steps):
    execute(start(tmp_path / "whole", *AVERAGED))
    execute(start(tmp_path / "parts", *AVERAGED, "--max-steps", str(steps)))
    execute(start(tmp_path / "parts", *AVERAGED, "--resume", "auto"))
    assert same(state(tmp_path / "whole"), state(tmp_path / "parts"))


def test_training_does_not_notice_and_evaluation_takes_the_averages(tmp_path):
    plain, run = start(tmp_path / "plain"), start(tmp_path / "averaged", *AVERAGED)
    execute(plain)
    execute(run)
    for name, parameter in plain.model.named_parameters():
        assert torch.equal(parameter, run.model.get_parameter(name)), name
    stored = state(tmp_path / "averaged")
    run.model.load_state_dict(stored["ema"]["model"])
    result = evaluate.count_correct(run.model, run.test_batches)
    last = [e for e in events(tmp_path / "averaged") if e["event"] == "eval"][-1]
    assert last["correct"] == result.correct and last["loss"] == result.loss
    other = [e for e in events(tmp_path / "plain") if e["event"] == "eval"][-1]
    assert last["loss"] != other["loss"]


def test_averages_are_those_of_the_updates(tmp_path):
    averages = None
    run = start(tmp_path, *AVERAGED, "--epochs", "1")
    weight, seen = run.model.fc.weight, [run.model.fc.weight.detach().clone()]
    step = run.precision.step

    def noted(optimizer):
        step(optimizer)
        seen.append(weight.detach().clone())

    run.precision.step = noted
    execute(run)
    averages = seen[0].double()
    for later in seen[1:]:
        averages = 0.9 * averages + 0.1 * later.double()
    stored = state(tmp_path)["ema"]["model"]["fc.weight"]
    assert len(seen) == 12
    torch.testing.assert_close(stored.double(), averages, rtol=1e-5, atol=1e-7)


def test_without_averages_in_a_checkpoint_they_begin_from_its_weights(tmp_path):
    execute(start(tmp_path, "--max-steps", "3"))
    run = start(tmp_path, *AVERAGED, "--resume", "auto")
    run.recorder.close()
    for name, tensor in state(tmp_path)["model"].items():
        assert torch.equal(tensor, run.ema.model.state_dict()[name]), name


@pytest.mark.parametrize("scale", ["0", "1024"])
def test_updates_that_overflow_do_not_move_them(tmp_path, scale):
    half = "--precision", "float16", "--loss_scale", scale, "--max-steps", "3"
    run = start(tmp_path, *AVERAGED, *half)
    before = flat(run.ema.model)
    run.model.fc.weight.register_hook(lambda gradient: gradient * float("inf"))
    run.ema.decay = 0.0  # an average would be the last weights and statistics
    execute(run)
    assert run.precision.skipped == 3
    assert (flat(run.ema.model) == before).all()
