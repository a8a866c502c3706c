"""Nesterov momentum at 32,768 images: the counter-baseline to LARS.

Z. Nado et al.: A large batch optimizer reality check: traditional, generic optimizers
suffice across batch sizes.  arXiv:2102.06356.  Its abstract claims that tuned Nesterov
momentum matches LARS at 32K; its settings were not read.

Every value here is chosen by us and none has been tried: a starting point for tuning.
"""

from trainer.published import Published
from trainer.recipe import adopt
from trainer.recipes import goyal2017

RECIPE = adopt(
    goyal2017.RECIPE,
    chosen={
        "label_smoothing": 0.1,
        "optimizer.momentum": 0.95,
        "optimizer.lr": 0.05,
        "lr.warmup_epochs": 10.0,
        "lr.shape": "poly",
        "batch.phases": ((0.0, 32768, 32),),
    },
    published=Published(
        batch="32,768", notes=("matches LARS, by the abstract",), source="paper"
    ),
)
