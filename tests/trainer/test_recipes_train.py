"""Every recipe learns something of the digits in seconds.

Eight virtual workers on one rank, a thin network, 44 updates at rates for so few: this
says that all parts of a recipe work together, and nothing about its result.
"""

import json

import pytest
from alone import Alone
from double import THIN, small

from trainer import loop, lr, recipe
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.settings import parse
from trainer.start import prepare

WORKERS, BATCH = 8, 64
PEAK = {"sgd": 0.2, "rmsprop_warmup": 0.4, "lars": 0.2, "lamb": 0.01}
TRUST = 0.3  # of LARS: 0.001 is for thousands of updates


def tuned(name):
    """Return the flags of a recipe whose rate has a peak that suits the digits."""
    values = recipe.load(name)
    factor = lr.peak(values, batch=BATCH) / values.optimizer.lr
    rate = PEAK[values.optimizer.kind] / factor
    return [
        *THIN, *small(name), "--virtual-workers", str(WORKERS),
        "--optimizer.lr", str(rate), "--lars.coefficient", str(TRUST),
    ]  # fmt: skip


@pytest.mark.parametrize("name", recipe.names())
def test_the_loss_of_a_recipe_falls_with_virtual_workers(tmp_path, name):
    flags = "--log-every", "1", "--output", str(tmp_path)
    run = prepare(Alone(), parse([*tuned(name), *flags]), Place(), Interrupt())
    assert run.phases[0] == (0.0, BATCH, BATCH // WORKERS)
    loop.train(run)
    run.recorder.close()
    lines = (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    losses = [event["loss"] for event in events if event["event"] == "step"]

    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])
