"""Goyal et al. 2017: 8,192 images an update, ImageNet in one hour.

P. Goyal et al.: Accurate, large minibatch SGD: training ImageNet in 1 hour.
arXiv:1706.02677v2.  256 P100 on 32 Big Basin servers, 32 images each; 76.26 +/- 0.09 %
top-1 (mean and deviation of 5 runs, each the median of its last 5 epochs).

The number of ranks sets the total batch, and the linear scaling rule the rate: 0.1 for
each 256 images (section 2.1).  Above 256 images the rate climbs from 0.1 in constant
increments, one each iteration, for 5 epochs (section 2.2).  Batch normalisation sees
one worker's 32 images, whatever the number of workers (section 2.3).  The crop is that
of the code the paper builds on, fb.resnet.torch; its colour jitter is left out.
"""

from trainer.published import Cluster, Published
from trainer.recipe import adopt
from trainer.recipes import he2016

RECIPE = adopt(
    he2016.RECIPE,
    paper={
        "epochs": 90,
        "model.stride": "v1.5",
        "model.classes": 1000,
        "model.width": 64,
        "model.blocks": (3, 4, 6, 3),
        "model.zero_gamma": True,
        "optimizer.kind": "sgd",
        "optimizer.lr": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 1e-4,
        "optimizer.decay_bn": False,
        "optimizer.decay_fc_bias": True,
        "lr.scaling": "linear",
        "lr.reference_batch": 256,
        "lr.span_epochs": 90.0,
        "lr.warmup_epochs": 5.0,
        "lr.shape": "steps",
        "lr.drops": (30.0, 60.0, 80.0),
        "lr.factor": 0.1,
        "batch.per_worker": 32,
        "bn.group": 1,
        "bn.evaluate": "moving",
        "images.size": 224,
        "images.flip": True,
        "images.normalise": "deviation",
    },
    code={
        "images.crop": "area",
        "images.min_area": 0.08,
        "images.filter": "bicubic",
        "images.resize": 256,
        "images.test_crop": "short_side",
    },
    published=Published(
        batch="8,192",
        workers=256,
        hardware="256 P100, 50 GbE",
        top1="76.26 +/- 0.09",
        median_of=5,
        seconds=3600,
        baseline="one server of 8: about 90 %",
        cluster=Cluster(
            machine="bigbasin",
            algorithm="halving_doubling",
            compute_s=0.2318,
            compute_images=32,
            processor="p100",
            source="8 P100, 29 h / 90 epochs / 5005 updates, node's own sums included "
            "(derived)",
        ),
    ),
)
