"""He et al. 2016: the baseline of 256 images on 8 processors.

K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition.
CVPR 2016, arXiv:1512.03385.  Published: 75.3 % top-1 (24.7 % error) for ResNet-50; the
29 hours on 8 P100 that are often printed beside it are Goyal et al.'s system.

The paper divides the rate by ten "when the error plateaus"; the epochs 30, 60 and 80 of
90 are those of the papers that follow it.  Its crops (short side 256 to 480, 224 cut
from it) are replaced by the crops of fb.resnet.torch, as all later recipes use them.
That everything decays, and gamma begins as 1, is chosen by us.
"""

from trainer.published import Published
from trainer.recipe import plain, vary

RECIPE = vary(
    plain(),
    paper={
        "model.stride": "v1",
        "model.classes": 1000,
        "model.width": 64,
        "model.blocks": (3, 4, 6, 3),
        "optimizer.kind": "sgd",
        "optimizer.lr": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 1e-4,
        "lr.reference_batch": 256,
        "lr.factor": 0.1,
        "images.size": 224,
    },
    derived={"batch.per_worker": 32},
    chosen={
        "model.zero_gamma": False,
        "optimizer.decay_bn": True,
        "optimizer.decay_fc_bias": True,
    },
    published=Published(
        batch="256",
        workers=8,
        hardware="8 P100",
        top1="75.3",
        seconds=29 * 3600,
        notes=("top-1 is He et al.'s, the time that of Goyal et al.'s system",),
    ),
)
