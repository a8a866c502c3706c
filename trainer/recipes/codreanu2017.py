"""Codreanu et al. 2017: 14,336 images an update on Xeon Phi, and a collapse at the end.

V. Codreanu, D. Podareanu, V. Saletore: Scale out for large minibatch SGD.
arXiv:1711.04291, and the authors' solver files: sara-nl/caffe at 610a2fa9,
models/intel_optimized_models/multinode/resnet50_448nodes.  448 nodes of Intel Xeon Phi,
896 workers of 16 images; 75.6 % in about 60 minutes, 76.1 % after the collapse.

The polynomial counts the iterations of the whole run, so that the rate drops where the
warm-up ends: 4.8 would be reached at iteration 446, which takes 4.53.  8,040 iterations
are 90 epochs.  Momentum is corrected in the warm-up only.

``codreanu2017:collapse`` is the last part, from the snapshot of epoch 85, without scale
and aspect augmentation: 402 iterations there, four and a half epochs.  Here it is five
whole ones, 445 iterations, over which its square is stretched.  The run of 90 epochs
keeps that snapshot; ``--start-from OUTPUT/checkpoint-0085-00000000.pt`` begins there,
with a momentum of 0.

``codreanu2017:11520`` is the row of 720 nodes in Akiba et al.'s table (75.0 %, 62 min):
no solver file of it was found, so its rate is the linear rule's.  The files' cycles of
the 4,096 run are not offered.

What cannot be promised: a gamma of 0 is in 4 of 53 normalisations there, in none here.
"""

from trainer.published import Published
from trainer.recipe import IMAGENET, adopt, vary
from trainer.recipes import goyal2017

EPOCHS_PER_UPDATE = 14336 / IMAGENET

RECIPE = adopt(
    goyal2017.RECIPE,
    code={
        "model.stride": "v1.5",
        "model.fan_mode": "fan_out",
        "optimizer.kind": "sgd",
        "optimizer.form": "corrected_in_warmup",
        "optimizer.lr": 4.8,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-5,
        "optimizer.decay_bn": False,
        "lr.reference_batch": 14336,
        "lr.warmup_start": 0.1,
        "lr.shape": "poly",
        "lr.power": 1.0,
        "lr.origin": "run",
        "bn.decay": 0.95,
        "images.min_area": 0.08,
        "images.filter": "bicubic",
        "images.flip": True,
        "images.normalise": "caffe",
        "images.resize": 256,
        "batch.per_worker": 16,
        "batch.phases": ((0.0, 14336, 16),),
    },
    derived={
        "epochs": 90,
        "lr.span_epochs": 8040 * EPOCHS_PER_UPDATE,
        "lr.warmup_epochs": 446 * EPOCHS_PER_UPDATE,
    },
    chosen={"model.zero_gamma": False},
    published=Published(
        batch="14,336",
        workers=896,
        hardware="448 nodes of KNL",
        top1="75.6",
        seconds=3600,
        source="code",
        notes=("76.1 after the collapse",),
    ),
)

VARIANTS = {
    "collapse": vary(
        RECIPE,
        code={
            "optimizer.lr": 0.254,
            "optimizer.weight_decay": 1e-4,
            "lr.power": 2.0,
            "images.crop": "fixed",
        },
        derived={
            "epochs": 5,
            "lr.span_epochs": 402 * EPOCHS_PER_UPDATE,
            "lr.warmup_epochs": 0.0,
        },
        published=Published(
            batch="14,336",
            workers=896,
            hardware="448 nodes of KNL",
            top1="76.1",
            source="code",
            begins="of codreanu2017 after 85 epochs",
        ),
    ),
    "11520": adopt(
        RECIPE,
        paper={"batch.phases": ((0.0, 11520, 16),), "batch.per_worker": 16},
        chosen={"optimizer.lr": 4.5, "lr.reference_batch": 11520},
        published=Published(
            batch="11,520",
            workers=720,
            hardware="720 KNL 7250",
            top1="75.0",
            seconds=62 * 60,
        ),
    ),
}
