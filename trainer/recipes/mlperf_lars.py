"""MLPerf's reference convergence points for LARS: 1,632 to 67,840 images.

mlcommons/logging, mlperf_logging/rcp_checker/training_4.0.0/rcps_resnet.json; LARS as
in Google's code for TensorFlow 2 (arXiv:1708.03888 for the method).  The target is
75.9 % at an evaluation every 4 epochs, before the end of the run.  ``mlperf_lars`` is
the row of 32,768 images, ``mlperf_lars:4096`` another.

The decay begins after the warm-up: else the row of 65,536 would end before it
converges.  That a worker is one span of normalisation is chosen: the number of workers
is not stated, nor the warm-up's first rate.  Smoothing is 0 or 0.1; 0.1 is chosen.
"""

from typing import NamedTuple

from trainer.published import Published
from trainer.recipe import IMAGENET, Recipe, adopt
from trainer.recipes import tf_tpu_lars_32k


class Row(NamedTuple):
    """One reference convergence point."""

    batch: int
    lr: float
    warmup_epochs: int
    momentum: float
    weight_decay: float
    decay_steps: int
    span: int  # images that batch normalisation sees
    epochs: str  # to 75.9 %


ROWS = (
    Row(1632, 7.4, 2, 0.9, 5e-5, 27476, 204, "33-37"),
    Row(3264, 10.5, 2, 0.9, 5e-5, 14523, 204, "34-37"),
    Row(4096, 10.0, 5, 0.9, 2e-4, 13137, 64, "39-42"),
    Row(8192, 17.0, 5, 0.9, 2e-4, 6095, 64, "41-44"),
    Row(13056, 12.8, 9, 0.9, 2.5e-5, 4710, 204, "44-46"),
    Row(32768, 21.2, 16, 0.94, 2.5e-5, 2267, 128, "55-57"),
    Row(49152, 19.405, 24, 0.951807, 1e-4, 1846, 256, "67-69"),
    Row(58880, 23.246, 29, 0.951807, 1e-4, 1785, 230, "78-81"),
    Row(65536, 24.699, 31, 0.951807, 1e-4, 1133, 128, "83-86"),
    Row(67840, 24.699, 31, 0.951807, 1e-4, 1133, 424, "85-87"),
)


def recipe_of(row: Row) -> Recipe:
    """Return the recipe of one row."""
    span = row.warmup_epochs + row.decay_steps * row.batch / IMAGENET
    return adopt(
        tf_tpu_lars_32k.RECIPE,
        code={
            "optimizer.kind": "lars",
            "optimizer.form": "v",
            "optimizer.lr": row.lr,
            "optimizer.momentum": row.momentum,
            "optimizer.weight_decay": row.weight_decay,
            "model.zero_gamma": False,
            "lars.eps": 0.0,
            "lars.skip": "bn_bias",
            "lars.decay_in": "update",
            "lr.reference_batch": row.batch,
            "lr.warmup_epochs": float(row.warmup_epochs),
            "lr.power": 2.0,
            "lr.end": 1e-4,
            "bn.eps": 1e-5,
            "images.min_area": 0.05,
            "images.resize": 256,
            "images.flip": True,
            "images.normalise": "mean",
        },
        derived={
            "epochs": round(span),
            "lr.span_epochs": span,
            "lr.origin": "warmup",
        },
        chosen={
            "batch.phases": ((0.0, row.batch, row.span),),
            "batch.per_worker": row.span,
            "lr.whole_steps": False,
            "optimizer.decay_bn": False,
            "optimizer.decay_fc_bias": False,
            "images.test_crop": "short_side",
        },
        published=Published(
            batch=f"{row.batch:,}",
            top1="75.9",
            source="code",
            notes=(f"a target, reached after {row.epochs} epochs",),
        ),
    )


VARIANTS = {str(row.batch): recipe_of(row) for row in ROWS}
RECIPE = VARIANTS["32768"]
