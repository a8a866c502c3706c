"""TensorFlow's LARS at 32,768 images, as published with its TPU models.

tensorflow/tpu, models/official/resnet at f4fa4d7c167040d6541ac08d0aae44bc7ee13609
(lars_util.py, resnet_main.py); LARS as in tensorflow/contrib then (the method:
arXiv:1708.03888).  76.3 % by the message of tensorflow's commit 1608a0c9.

Rate 34 after 12 epochs from 0, then a polynomial of power 2 to 1e-4, by updates.
Weight decay is an L2 loss over everything but normalisation: the gradient that LARS
sees contains it, and its denominator counts it again.  Normalisation and bias are
skipped: they take the plain rate of up to 34.  The number of workers is not known:
2,048 of 16 images are chosen.  So is the u-form: it is that of the early LARS in
contrib, which is probably the one of then.
"""

from trainer.published import Published
from trainer.recipe import adopt
from trainer.recipes import goyal2017

RECIPE = adopt(
    goyal2017.RECIPE,
    code={
        "epochs": 90,
        "label_smoothing": 0.1,
        "model.stride": "v1.5",
        "model.zero_gamma": True,
        "model.fan_mode": "fan_in",
        "optimizer.kind": "lars",
        "optimizer.lr": 34.0,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 1e-4,
        "optimizer.decay_bn": False,
        "optimizer.decay_fc_bias": True,
        "lars.coefficient": 0.001,
        "lars.eps": 0.0,
        "lars.skip": "bn_bias",
        "lars.decay_in": "loss",
        "lr.reference_batch": 32768,
        "lr.span_epochs": 90.0,
        "lr.warmup_epochs": 12.0,
        "lr.warmup_start": 0.0,
        "lr.shape": "poly",
        "lr.power": 2.0,
        "lr.end": 1e-4,
        "lr.origin": "warmup",
        "lr.whole_steps": True,
        "bn.eps": 1e-5,
        "images.size": 224,
        "images.resize": 256,
        "images.min_area": 0.08,
        "images.filter": "bicubic",
        "images.flip": True,
        "images.test_crop": "fraction",
    },
    chosen={
        "optimizer.form": "u",
        "lr.scaling": "sqrt",
        "batch.phases": ((0.0, 32768, 16),),
        "batch.per_worker": 16,
    },
    published=Published(batch="32,768", top1="76.3", source="code"),
)
