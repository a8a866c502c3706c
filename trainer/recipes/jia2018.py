"""Jia et al. 2018: 65,536 images an update in mixed precision, 6.6 minutes.

X. Jia et al.: Highly scalable deep learning training system with mixed-precision:
training ImageNet in four minutes.  arXiv:1807.11205.  2,048 P40, 100 GbE; 75.8 %.

What is known comes from tables and abstracts: LARS in float32 over float16 gradients,
no weight decay on bias, beta and gamma.  The rate, the warm-up and the coefficient were
not found: 35 after 34 epochs are tensorflow/tpu's for 65,536 images (b13e6b6), chosen
by us.

Gradients are fused up to a threshold; what is small then is summed hierarchically, what
is large by a ring.  Threshold (``reduction.bucket_bytes``), switch and the size of the
groups, here the nodes, were not found either.  A ring of 2,048 has 4,094 steps: only
large buckets are worth that.
"""

from trainer.published import Cluster, Published
from trainer.recipe import adopt
from trainer.recipes import tf_tpu_lars_32k

RECIPE = adopt(
    tf_tpu_lars_32k.RECIPE,
    derived={
        "batch.phases": ((0.0, 65536, 32),),
        "batch.per_worker": 32,
        "lr.reference_batch": 65536,
    },
    chosen={
        "precision": "float16",
        "label_smoothing": 0.0,
        "optimizer.form": "v",
        "optimizer.lr": 35.0,
        "optimizer.decay_bn": False,
        "optimizer.decay_fc_bias": False,
        "lars.decay_in": "update",
        "lr.warmup_epochs": 34.0,
        "lr.whole_steps": False,
        "reduction.wire": "float16",
        "reduction.algorithm": "ring",
        "reduction.small_algorithm": "hierarchical",
        "reduction.switch_bytes": 16 << 20,
    },
    published=Published(
        batch="64K",
        workers=2048,
        hardware="2048 P40, 100 GbE",
        top1="75.8",
        seconds=6.6 * 60,
        baseline="87.9 %, of a base that is not stated",
        cluster=Cluster(
            machine="tencent",
            algorithm="ring",
            compute_s=32 / 218,
            compute_images=32,
            source="218 images/s in mixed precision (secondary), taken to be one GPU's",
        ),
    ),
)
