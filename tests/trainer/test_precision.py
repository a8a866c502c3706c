import pytest
import torch
from alone import Alike
from test_loop import events, start, state
from torch import nn

from collectives import InvalidArgument
from trainer import optim
from trainer.precision import Precision
from trainer.recipe import PRECISIONS, Optimizer
from trainer.reducer import Reducer
from trainer.run import execute

HALVES = ("bfloat16", "float16")


def losses(output, *arguments):
    execute(start(output, "--log-every", "1", *arguments))
    return [event["loss"] for event in events(output) if event["event"] == "step"]


@pytest.mark.parametrize("name", HALVES)
def test_the_loss_falls_as_in_float32(tmp_path, name):
    whole = losses(tmp_path / "float32", "--epochs", "8")
    half = losses(tmp_path / name, "--epochs", "8", "--precision", name)
    assert sum(half[-5:]) < 0.9 * sum(half[:5])
    assert half != whole  # it is in use
    assert half[:5] == pytest.approx(whole[:5], rel=0.02)
    assert sum(half[-5:]) == pytest.approx(sum(whole[-5:]), rel=0.05)


@pytest.mark.parametrize("name", PRECISIONS)
def test_weights_gradients_averages_and_statistics_stay_float32(tmp_path, name):
    run = start(tmp_path, "--precision", name, "--max-steps", "1")
    execute(run)
    tensors = [*run.model.state_dict().values()]
    tensors += [parameter.grad for parameter in run.model.parameters()]
    tensors += [own["momentum_buffer"] for own in run.optimizer.state.values()]
    assert {t.dtype for t in tensors} == {torch.float32, torch.int64}  # one counts


def test_images_in_another_memory_format_train_alike(tmp_path):
    one = losses(tmp_path / "one", "--epochs", "1")
    other = losses(tmp_path / "other", "--epochs", "1", "--channels-last")
    assert other == pytest.approx(one, rel=1e-4)


def test_a_run_may_go_on_in_another_memory_format(tmp_path):
    losses(tmp_path, "--max-steps", "5")
    weights = state(tmp_path)["model"]
    run = start(tmp_path, "--resume", "auto", "--channels-last")
    run.recorder.close()
    for name, parameter in run.model.named_parameters():
        average = run.optimizer.state[parameter]["momentum_buffer"]
        assert torch.equal(parameter, weights[name])
        assert average.stride() == parameter.stride()
    went_on = losses(tmp_path, "--resume", "auto", "--max-steps", "4")
    other = losses(
        tmp_path, "--resume", str(tmp_path / "checkpoint-0000-00000640.pt"),
        "--channels-last", "--max-steps", "4",
    )  # fmt: skip
    assert other[-4:] == pytest.approx(went_on[-4:], rel=1e-3)


def overflowing(*, size=2):
    """Return a model of one weight, trained with a loss scale, and its parts."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    reducer = Reducer(model.named_parameters(), Alike(size))
    return model, reducer, optim.build(model, Optimizer(lr=0.5))


def update(parts, computing, gradient):
    model, reducer, optimizer = parts
    reducer.zero_grad()
    computing.backward(model(torch.tensor([[gradient]])).sum())
    reducer.finish()
    computing.step(optimizer)
    computing.note(computing.current().tolist())


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("bad", [float("inf"), float("nan"), 1e38])
def test_an_overflow_skips_the_update_and_halves_the_scale(bad, size):
    parts, computing = overflowing(size=size), Precision("float16", "cpu")
    weight = parts[0].weight
    for gradient, scale, skipped, value in [
        (bad, 32768, 1, 1.0),  # the first update of all
        (1.0, 32768, 1, 0.5),
        (bad, 16384, 2, 0.5),
        (bad, 8192, 3, 0.5),
        (1.0, 8192, 3, 0.5 - 0.5 * 1.9),
    ]:
        update(parts, computing, gradient)
        # Decay is small: 1e-4 of the weight.
        assert weight.item() == pytest.approx(value, abs=1e-3)
        assert (computing.scale, computing.skipped) == (scale, skipped)


@pytest.mark.parametrize("bad", [float("inf"), float("nan"), 1e38])
def test_a_fixed_scale_stays_and_overflows_are_skipped(bad):
    parts, computing = overflowing(), Precision("float16", "cpu", fixed=1000.0)
    computing.scaler.set_growth_interval(1)  # an adapted scale would double each time
    weight = parts[0].weight
    for gradient, skipped, value in [
        (bad, 1, 1.0), (1.0, 1, 0.5), (bad, 2, 0.5), (1.0, 2, -0.45),
    ]:  # fmt: skip
        update(parts, computing, gradient)
        assert weight.item() == pytest.approx(value, abs=1e-3)
        assert (computing.scale, computing.skipped) == (1000, skipped)
        assert computing.made.item() == (gradient == 1.0)


def test_a_fixed_scale_scales_the_loss():
    computing, loss = Precision("float16", "cpu", fixed=1000.0), torch.ones(())
    computing.backward(loss.requires_grad_())
    assert loss.grad.item() == 1000


@pytest.mark.parametrize(("before", "after"), [("0", "512"), ("512", "128")])
def test_a_run_may_go_on_with_another_fixed_scale(tmp_path, before, after):
    half = "--precision", "float16", "--loss_scale"
    run = start(tmp_path, *half, before, "--max-steps", "3")
    run.model.fc.weight.register_hook(lambda gradient: gradient * float("inf"))
    execute(run)
    again = start(tmp_path, *half, after, "--resume", "auto")
    again.recorder.close()
    assert (again.precision.scale, again.precision.skipped) == (float(after), 3)
    assert again.precision.scaler.get_scale() == float(after)


@pytest.mark.parametrize("name", PRECISIONS[:2])
def test_other_precisions_have_no_scale(name):
    computing = Precision(name, "cpu")
    assert not computing.scaled and computing.told() == {}
    assert computing.current().tolist() == [1, 0]


def test_a_skipped_update_counts_and_the_rate_goes_on(tmp_path):
    run = start(tmp_path, "--precision", "float16", "--log-every", "1")
    computing = run.precision
    backward, seen = computing.backward, []

    def overflow_once(loss):
        seen.append(loss)
        backward(loss * (float("inf") if len(seen) == 3 else 1))

    computing.backward = overflow_once
    execute(run)
    steps = [event for event in events(tmp_path) if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, 23))
    rates = [event["lr"] for event in steps]
    assert rates == sorted(rates, reverse=True) and rates[2] == rates[3]
    assert [event["loss_scale"] for event in steps] == [65536] * 3 + [32768] * 19
    assert [event["skipped"] for event in steps] == [0] * 3 + [1] * 19
    assert events(tmp_path)[-1]["skipped"] == 1


def test_a_checkpoint_keeps_the_scale_and_what_was_skipped(tmp_path):
    run = start(tmp_path, "--precision", "float16", "--max-steps", "3")
    run.model.fc.weight.register_hook(lambda gradient: gradient * float("inf"))
    execute(run)
    stored = state(tmp_path)["scaler"]
    assert (stored["scale"], stored["skipped"]) == (8192, 3)
    again = start(tmp_path, "--precision", "float16", "--resume", "auto")
    again.recorder.close()
    assert (again.precision.scale, again.precision.skipped) == (8192, 3)
    assert again.precision.scaler.state_dict() == run.precision.scaler.state_dict()


@pytest.mark.parametrize("before", ["float32", "float16"])
def test_a_run_may_go_on_in_another_precision(tmp_path, before):
    after = {"float32": "float16", "float16": "float32"}[before]
    losses(tmp_path, "--precision", before, "--max-steps", "3")
    run = start(tmp_path, "--precision", after, "--resume", "auto")
    assert execute(run) == 0 and run.step == 22


def test_a_stopped_run_with_a_scale_continues_to_the_same_bits(tmp_path):
    half = "--precision", "float16"
    losses(tmp_path / "whole", *half)
    losses(tmp_path / "parts", *half, "--max-steps", "13")
    losses(tmp_path / "parts", *half, "--resume", "auto")
    one, other = state(tmp_path / "whole"), state(tmp_path / "parts")
    for key, tensor in one["model"].items():
        assert torch.equal(tensor, other["model"][key]), key
    assert one["scaler"] == other["scaler"]


@pytest.mark.parametrize("name", HALVES)
def test_what_a_device_cannot_do_is_told_before_data_is_read(
    tmp_path, monkeypatch, name
):
    def refuse(self):
        raise RuntimeError("no kernel image\nfor this device")

    monkeypatch.setattr(Precision, "autocast", refuse)
    monkeypatch.setattr("trainer.supply.load", lambda settings: 1 / 0)
    with pytest.raises(InvalidArgument, match=f"--precision {name}.*no kernel") as told:
        start(tmp_path, "--precision", name)
    assert "\n" not in str(told.value)
    assert "choose from float32, bfloat16, float16" in str(told.value)


@pytest.mark.filterwarnings("ignore")  # what torch warns itself of
def test_a_compiled_model_trains_alike(tmp_path):
    tiny = "--model.blocks", "[1]", "--batch.per_worker", "360", "--max-steps", "2"
    plain = losses(tmp_path / "plain", *tiny)
    assert losses(tmp_path / "compiled", *tiny, "--compile") == pytest.approx(
        plain, rel=1e-3
    )
    names = list(state(tmp_path / "plain")["model"])
    assert list(state(tmp_path / "compiled")["model"]) == names
