"""Akiba et al. 2017: 32,768 images an update, by RMSprop that gives way to SGD.

T. Akiba, S. Suzuki, K. Fukuda: Extremely large minibatch SGD: training ResNet-50 on
ImageNet in 15 minutes.  arXiv:1711.04325.  1,024 P100, 32 images each, two FDR
InfiniBand; 74.94 +/- 0.09 % in 897.9 +/- 3.3 s with an evaluation after each epoch
(mean and deviation of 5 runs).

The slow start: 0.1 for each 256 images, times 0.5, 0.075, 0.01 and 0.001 from the
epochs 0, 40, 70 and 85 on; no other warm-up.  The transition is the one that the text
describes; the printed formula has twice the slope in the second half, climbs to 1.5 and
falls back to 1 (``--rmsprop.transition as_printed`` is clamped to 1).  Batch
normalisation is evaluated with the last minibatch's statistics, averaged over the
workers.  Gradients travel as float16.

What cannot be promised: whether the transition counts whole epochs, whether the decay
enters the gradient, and how the second moment starts are not printed.  The scaling
efficiency has two bases, 70 % of one GPU and 80 % of one node.
"""

from trainer.published import Cluster, Published
from trainer.recipe import adopt
from trainer.recipes import goyal2017

RECIPE = adopt(
    goyal2017.RECIPE,
    paper={
        "epochs": 90,
        "precision": "float32",
        "optimizer.kind": "rmsprop_warmup",
        "optimizer.lr": 0.1,
        "optimizer.momentum": 0.9,
        "rmsprop.centre_epoch": 10.0,
        "rmsprop.period_epochs": 5.0,
        "rmsprop.lr": 3e-4,
        "rmsprop.decay": 0.99,
        "rmsprop.eps": 1e-8,
        "lr.scaling": "linear",
        "lr.reference_batch": 256,
        "lr.span_epochs": 90.0,
        "lr.warmup_epochs": 0.0,
        "lr.shape": "steps",
        "lr.drops": (40.0, 70.0, 85.0),
        "lr.factors": (0.5, 0.075, 0.01, 0.001),
        "batch.phases": ((0.0, 32768, 32),),
        "batch.per_worker": 32,
        "bn.evaluate": "last_batch",
        "images.size": 224,
        "images.crop": "area",
        "images.min_area": 0.08,
        "images.flip": True,
        "reduction.wire": "float16",
        "reduction.algorithm": "ring",
    },
    code={"bn.eps": 2e-5},
    derived={
        "model.stride": "v1.5",
        "rmsprop.transition": "corrected",
    },
    chosen={"optimizer.nesterov": False},
    published=Published(
        batch="32,768",
        workers=1024,
        hardware="1024 P100, 2 FDR",
        top1="74.94 +/- 0.09",
        seconds=897.9,
        baseline="70 % of one GPU, 80 % of a node of 8",
        cluster=Cluster(
            machine="mn1",
            algorithm="ring",
            compute_s=0.179,
            compute_images=32,
            processor="p100",
            source="one GPU, from 897.9 s, 3519 updates and 70 % efficiency (derived)",
        ),
    ),
)
