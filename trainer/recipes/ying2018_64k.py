"""Ying et al. 2018: 65,536 images an update on a TPU v3 pod, 1.8 minutes.

C. Ying, S. Kumar, D. Chen, T. Wang, Y. Cheng: Image classification at supercomputer
scale.  arXiv:1811.06992.  1,024 chips, 2,048 cores of 32 images; 75.2 %.

As ``ying2018_32k``, and with the same gaps: 35 after 34 epochs are tensorflow/tpu's
rate for 65,536 images (b13e6b6), chosen by us.
"""

from trainer.published import Published
from trainer.recipe import vary
from trainer.recipes import ying2018_32k

RECIPE = vary(
    ying2018_32k.RECIPE,
    derived={
        "batch.phases": ((0.0, 65536, 32),),
        "batch.per_worker": 32,
        "lr.reference_batch": 65536,
    },
    chosen={"optimizer.lr": 35.0, "lr.warmup_epochs": 34.0},
    published=Published(
        batch="64K",
        workers=2048,
        hardware="1024 TPU v3",
        top1="75.2",
        seconds=1.8 * 60,
    ),
)
