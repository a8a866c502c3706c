"""He et al. 2016: the baseline of 256 images on 8 processors.

K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition.
CVPR 2016, arXiv:1512.03385.  Published: 75.3 % top-1 (24.7 % error) for ResNet-50; the
29 hours on 8 P100 that are often printed beside it are Goyal et al.'s system.

The paper divides the rate by ten "when the error plateaus"; the epochs 30, 60 and 80 of
90 are those of the papers that follow it.  Its crops (short side 256 to 480, 224 cut
from it) are replaced by the crops of fb.resnet.torch, as all later recipes use them.
"""

from trainer.recipe import Recipe, vary

RECIPE = vary(
    Recipe(),
    paper={
        "model.stride": "v1",
        "model.classes": 1000,
        "model.width": 64,
        "model.blocks": (3, 4, 6, 3),
        "model.zero_gamma": False,
        "optimizer.lr": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 1e-4,
        "lr.reference_batch": 256,
        "lr.factor": 0.1,
        "images.size": 224,
        "images.flip": True,
    },
    code={
        "images.resize": 256,
        "images.min_area": 0.08,
        "optimizer.decay_bn": True,
    },
    derived={"batch.per_worker": 32},
    chosen={
        "epochs": 90,
        "precision": "float32",
        "model.fan_mode": "fan_out",
        "lr.span_epochs": 90.0,
        "lr.warmup_epochs": 0.0,
        "lr.drops": (30.0, 60.0, 80.0),
        "batch.accumulation": 1,
        "images.shift": 0,
    },
)
