"""Arms: what is compared, each a recipe, most of which differ from M5 in one thing.

M7 and M8 are whole recipes of their papers: optimiser and schedule together.

M5 is Goyal et al.'s recipe (arXiv:1706.02677) at the study's size: momentum SGD, steps
at 1/3, 2/3 and 8/9 of the run, the rate scaled with the batch and warmed up gradually,
ghost batches of 32, gamma 0.  Fixed before any result, as all of this file:

* One setting is tuned for each arm, by as many runs.  SGD's rate is tuned at the
  smallest batch only, and all arms of SGD share it; LARS has its own, at one batch.
* Nesterov's step is left out, so that the u-form and the v-form compare.
* The warm-up takes 5/90 of the run, and at least two of its epochs.
* LARS has its papers' decay of the rate, polynomial of power 2, a warm-up from 0, and
  for other batches the root of their ratio, as ``you2017_16k``; no skip list.
* RMSprop's warm-up is ``akiba2017``'s, with its slow start and without another.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from trainer.published import Published
from trainer.recipe import Recipe, adopt, vary
from trainer.recipes import akiba2017, goyal2017

GHOST = 32  # pictures, of a virtual worker
REFERENCE = 64  # batch of M0, at which the rate is tuned
LARS_REFERENCE = 8192  # batch at which LARS's rate is tuned
RATES = (0.0125, 0.025, 0.05, 0.1, 0.2)  # at REFERENCE; Goyal's rule says 0.025
LARS_RATES = (7.5, 15.0, 30.0, 60.0, 120.0)  # at LARS_REFERENCE; the paper says 30
SPAN = goyal2017.RECIPE.lr.span_epochs


class Rates(NamedTuple):
    """The tuned settings."""

    sgd: float
    lars: float


class Arm(NamedTuple):
    """One arm: what it is, and what it changes of M5."""

    title: str
    changes: Mapping[str, Any]
    independent: bool = False  # whether each worker shuffles all pictures for itself


_AKIBA = {
    f"lr.{name}": getattr(akiba2017.RECIPE.lr, name)
    for name in ("warmup_epochs", "drops", "factors")
}
_LARS = {
    "optimizer.kind": "lars",
    "optimizer.form": "v",
    "lars.coefficient": 0.001,
    "lars.eps": 1e-8,
    "lars.skip": "none",
    "lr.scaling": "sqrt",
    "lr.reference_batch": LARS_REFERENCE,
    "lr.warmup_start": 0.0,
    "lr.shape": "poly",
    "lr.power": 2.0,
    "lr.origin": "run",
}
ARMS = {
    "M0": Arm("the small batch", {}),
    "M1": Arm("rate not scaled", {"lr.scaling": "none"}),
    "M2": Arm("rate by the root", {"lr.scaling": "sqrt"}),
    "M3": Arm("linear, no warm-up", {"lr.warmup_epochs": 0.0}),
    "M4": Arm("constant warm-up", {"lr.warmup_epochs": 0.0}),
    "M5": Arm("gradual warm-up", {}),
    "M6": Arm("M5 with gamma 1", {"model.zero_gamma": False}),
    "M7": Arm("LARS", _LARS),
    "M8": Arm("RMSprop warm-up", {"optimizer.kind": "rmsprop_warmup", **_AKIBA}),
    "M9": Arm("M5, v-form uncorrected", {"optimizer.form": "v"}),
    "M10": Arm("M5, BN over the batch", {}),
    "M11": Arm("M5, own shuffles", {}, independent=True),
}


def recipe(name: str, *, batch: int, rates: Rates, epochs: int) -> Recipe:
    """Return the recipe of an arm for a total batch."""
    warmup = max(goyal2017.RECIPE.lr.warmup_epochs, 2 * SPAN / epochs)
    base = adopt(
        goyal2017.RECIPE,
        published=Published(batch=str(batch)),
        chosen={
            "epochs": epochs,
            "optimizer.lr": rates.sgd,
            "optimizer.nesterov": False,
            "lr.reference_batch": REFERENCE,
            "lr.warmup_epochs": warmup,
            "batch.per_worker": GHOST,
        },
    )
    changes = dict(ARMS[name].changes)
    if name == "M4":  # the reference's own rate, then all of the scaled one
        changes["optimizer.lr"] = rates.sgd * REFERENCE / batch
        changes["lr.jumps"] = ((warmup, rates.sgd),)
    if name == "M7":
        changes["optimizer.lr"] = rates.lars
    if name == "M10":
        changes["bn.group"] = batch // GHOST
    return vary(base, chosen=changes)
