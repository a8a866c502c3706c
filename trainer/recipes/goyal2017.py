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

from trainer.recipe import vary
from trainer.recipes import he2016

RECIPE = vary(
    he2016.RECIPE,
    paper={
        "epochs": 90,
        "model.stride": "v1.5",
        "model.zero_gamma": True,
        "optimizer.nesterov": True,
        "optimizer.decay_bn": False,
        "lr.span_epochs": 90.0,
        "lr.warmup_epochs": 5.0,
        "lr.drops": (30.0, 60.0, 80.0),
        "batch.per_worker": 32,
    },
)
