"""FFCV's ResNet-50 in 16 epochs: growing images, linear to zero.

libffcv/ffcv-imagenet, rn50_configs, train_imagenet.py (606c584) and README; the network
is that of arXiv:1512.03385 with a blur before its strides, but not in the stem
(`trainer.blur`).  8 A100, 512 images each: 73.8 % in 14.9 minutes.

The rate climbs from 0 to 1.7 in 2 epochs and falls linearly to 0.  Images grow from 160
to 192 pixels between the epochs 11 and 13 (`trainer.resizing`).  The evaluation cuts
224 / 256 of the short side from the centre, resizes that to 256 pixels (224 in the
README) and averages the scores of an image and its mirror image.  The run expects
``--channels-last``.

Its skip list matches names with "bn", and so decays the normalisation of the shortcuts;
this recipe spares all.  The longer runs (88 epochs: 78.4 %) are not offered.
"""

from trainer.published import Published
from trainer.recipe import adopt
from trainer.recipes import goyal2017

RECIPE = adopt(
    goyal2017.RECIPE,
    code={
        "epochs": 16,
        "precision": "float16",
        "label_smoothing": 0.1,
        "model.blurpool": True,
        "optimizer.kind": "sgd",
        "optimizer.lr": 1.7,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 1e-4,
        "optimizer.decay_bn": False,
        "lr.span_epochs": 16.0,
        "lr.warmup_epochs": 2.0,
        "lr.warmup_start": 0.0,
        "lr.shape": "poly",
        "lr.power": 1.0,
        "lr.origin": "warmup",
        "batch.per_worker": 512,
        "images.size": 192,
        "images.ramp": ((11.0, 160), (13.0, 192)),
        "images.test_crop": "fraction",
        "images.test_size": 256,
        "images.test_flip": True,
    },
    derived={
        "lr.reference_batch": 4096,
        "images.resize": 293,  # 256 / (224 / 256): what is cut of the short side
    },
    chosen={
        "optimizer.nesterov": False,
        "model.stride": "v1.5",
        "model.zero_gamma": False,
    },
    published=Published(
        batch="8 x 512",
        workers=8,
        hardware="8 A100",
        top1="73.8",
        seconds=14.9 * 60,
        source="code",
    ),
)
