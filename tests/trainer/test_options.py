"""A recipe with all the options at once: FFCV's, with averages besides."""

import pytest
from test_loop import events, start, state
from test_resizing import shapes_of

from trainer.blur import BlurredConv2d
from trainer.run import execute

GROWING = (
    "--recipe", "ffcv_rn50", "--images.ramp", "[[11,12],[13,16]]",
    "--images.test_flip", "true", "--images.test_size", "20",
    "--model.width", "8", "--epochs", "8", "--log-every", "1",
)  # fmt: skip


@pytest.mark.parametrize("scale", ["0", "1024"])
def test_ffcv_s_recipe_learns(tmp_path, scale):
    averaged = "--ema_decay", "0.9", "--loss_scale", scale
    run = start(tmp_path, *GROWING, *averaged, "--channels-last")
    seen = shapes_of(run)
    assert execute(run) == 0
    assert seen == {True: [12, 16], False: [20]}
    assert any(isinstance(module, BlurredConv2d) for module in run.model.modules())
    steps = [event for event in events(tmp_path) if event["event"] == "step"]
    losses = [event["loss"] for event in steps]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert steps[-1]["loss_scale"] == (float(scale) or 65536)
    evaluations = [e["loss"] for e in events(tmp_path) if e["event"] == "eval"]
    assert evaluations[-1] < 0.9 * evaluations[0]
    assert set(state(tmp_path)["ema"]) == {"model", "buffers"}
