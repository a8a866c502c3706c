"""Train thin networks in float64 on few images, so that equal mathematics is equal."""

from dataclasses import dataclass
from unittest import mock

import torch

from trainer import bn, checkpoint, loop, recipe, start, supply
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.settings import parse

THIN = [
    "--model.width", "4", "--model.blocks", "[1]", "--model.classes", "10",
    "--images.size", "16",
]  # fmt: skip
EXACT = ["--precision", "float32", "--wire", "null"]  # types that the flags can change
REL = 1e-12
SMALL = 8  # images of a microbatch, in the first phase
UPDATES = 4  # of the first epoch


@dataclass(frozen=True)
class Double(Place):
    """The host, in float64."""

    def put(self, images, labels):
        return super().put(images.double(), labels)


class Few:
    """The first images of a data set."""

    def __init__(self, whole, count):
        self.whole, self.classes = whole, whole.classes
        self.count = min(count, len(whole))

    def __len__(self):
        return self.count

    def __getitem__(self, key):
        return self.whole[key]


def small(name):
    """Return the flags of a recipe with small microbatches, in as many as before."""
    values = recipe.load(name)
    parts = []
    for epoch, batch, per_worker in values.batch.phases:
        images = SMALL * per_worker // values.batch.per_worker
        parts.append([epoch, batch // per_worker * images, images])
    fields = "--batch.per_worker", str(SMALL), "--batch.phases", str(parts)
    return ["--recipe", name, "--epochs", "2", *fields]


def trained(comm, output, name, workers, *flags, change=lambda run: None):
    """Train a recipe, after a ``change`` of the run; return it, at its end.

    Its images are as many as ``workers`` microbatches need for `UPDATES` updates.  It
    stops after the first of the second epoch, at the middle of the recipe's span.
    torch's default is float64 meanwhile: of weights, averages and gradients.
    """
    load, images = supply.load, UPDATES * SMALL * workers
    stop = "--max-steps", str(UPDATES + 1), "--output", str(output)
    settings = parse([*THIN, *EXACT, *small(name), *flags, *stop])
    torch.set_default_dtype(torch.float64)
    few = mock.patch.object(
        supply, "load", lambda s: tuple(Few(whole, images) for whole in load(s))
    )
    try:
        with few:
            run = start.prepare(comm, settings, Double(), Interrupt())
        change(run)
        loop.train(run)
        run.recorder.close()
    finally:
        torch.set_default_dtype(torch.float32)
    return run


def state(run):
    """Return all that the last checkpoint of a run has of its training, by name."""
    content = checkpoint.read(checkpoint.find(run.settings.output, "auto"))
    found = {f"weights {n}": p.detach() for n, p in run.model.named_parameters()}
    found["workers' averages"] = content["buffers"]
    found["averages"] = bn.flatten(run.model)  # pooled, by the last evaluation
    for index, own in content["optimizer"]["state"].items():
        found |= {f"{key} of {index}": torch.as_tensor(own[key]) for key in own}
    found["result"] = torch.tensor([run.result["loss"], run.result["top1"]])
    return found


def assert_same(one, other, *, but=()):
    """Assert that two runs have the same state, but for some parts of it."""
    mine, theirs = state(one), state(other)
    assert mine.keys() == theirs.keys() and one.step == other.step
    for name in [name for name in mine if name not in but]:
        torch.testing.assert_close(
            mine[name], theirs[name], rtol=REL, atol=REL, check_dtype=False,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip
    assert {p.dtype for p in one.model.parameters()} == {torch.float64}
