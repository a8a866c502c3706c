"""Mikami et al. 2018, experiment 1: 34K, then 68K images on 2,176 GPUs.

arXiv:1811.05233v2, tables 3 and 5; 75.03 % in 224 s, with an earlier version of the
software.  Rate A: 34 after 34 epochs from 1e-5, then (1 - (e - 34) / 56) ** 2.  The
batch doubles at epoch 30, inside the warm-up, by twice the images per worker; the rate
does not change with it.

The power 2 is that of the file the paper cites (tensorflow/tpu), but the file has 12
epochs of warm-up from 0 at that commit.  ``trainer.recipes.mikami2018_reference`` tells
what is not printed.
"""

from dataclasses import replace

from trainer.recipe import vary
from trainer.recipes import mikami2018_reference

RECIPE = vary(
    mikami2018_reference.RECIPE,
    paper={
        "optimizer.lr": 34.0,
        "lr.span_epochs": 90.0,
        "lr.warmup_epochs": 34.0,
        "lr.warmup_start": 1e-5,
        "lr.shape": "poly",
        "lr.end": 0.0,
        "lr.origin": "warmup",
        "noise_scale.reading": "none",
    },
    code={"lr.power": 2.0},
    derived={
        "batch.phases": ((0.0, 34816, 16), (30.0, 69632, 32)),
        "batch.per_worker": 16,
        "lr.reference_batch": 34816,
    },
    chosen={"optimizer.weight_decay": 1e-4},
    published=replace(
        mikami2018_reference.RECIPE.published,
        batch="34K, 68K",
        workers=2176,
        hardware="2176 V100, 2 EDR",
        top1="75.03",
        seconds=224,
        baseline="",
        notes=("an earlier version of the software",),
    ),
)
