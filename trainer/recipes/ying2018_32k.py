"""Ying et al. 2018: 32,768 images an update on a TPU v3 pod, 2.2 minutes.

C. Ying, S. Kumar, D. Chen, T. Wang, Y. Cheng: Image classification at supercomputer
scale.  arXiv:1811.06992.  1,024 chips, 2,048 cores of 16 images; 76.3 %.

Batch normalisation spans groups of replicas, in float32 over bfloat16 activations, as
Google's later code for MLPerf does it; label smoothing is in a later configuration.
Gradients are summed along both axes of the torus at once, as is known at second hand
only.  The size of the groups, the rate, the warm-up and the decay were not found: the
rate is that of ``tf_tpu_lars_32k``, chosen by us.
"""

from trainer.published import Published
from trainer.recipe import adopt
from trainer.recipes import tf_tpu_lars_32k

RECIPE = adopt(
    tf_tpu_lars_32k.RECIPE,
    code={
        "precision": "bfloat16",
        "label_smoothing": 0.1,
        "optimizer.kind": "lars",
        "bn.eps": 1e-5,
        "images.min_area": 0.08,
        "images.filter": "bicubic",
        "images.flip": True,
    },
    derived={
        "batch.phases": ((0.0, 32768, 16),),
        "batch.per_worker": 16,
        "lr.reference_batch": 32768,
    },
    chosen={
        "bn.group": 4,
        "optimizer.weight_decay": 1e-4,
        "reduction.algorithm": "crossed_torus2d",
    },
    published=Published(
        batch="32K",
        workers=2048,
        hardware="1024 TPU v3",
        top1="76.3",
        seconds=2.2 * 60,
    ),
)
