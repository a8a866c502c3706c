"""Mikami et al. 2018, reference: 32,768 images an update on 1,024 GPUs.

H. Mikami, H. Suganuma, P. U-chupala, Y. Tanaka, Y. Kageyama: Massively distributed SGD:
ImageNet/ResNet-50 training in a flash.  arXiv:1811.05233v2.  ABCI, 4 V100 a node, two
EDR InfiniBand; 75.40 % in 505 s.

LARS as in nnabla: the rate inside the momentum, no correction of it, no tensor skipped.
Gradients are float16, their sums run on a 2D torus; LARS and the statistics of batch
normalisation are float32, and evaluated without running averages: means and mean
squares of the last batch.

"You's settings" are taken to be 29 after 5 epochs.  The paper prints 0.01 as the
coefficient, "default"; nnabla's default is 0.001, which 29 goes with elsewhere
(``--lars.coefficient 0.01`` is the printed one).  Weight decay, initialisation, loss
scale, the magnitudes of its augmentation and the resize of its evaluation are not
printed; its padding, rotation and distortion are left out.

What cannot be promised: 75.40 %, which the LARS papers do not reach at 32K.
"""

from trainer.published import Cluster, Published
from trainer.recipe import adopt
from trainer.recipes import you2017_32k

CLUSTER = Cluster(
    machine="abci",
    algorithm="torus2d",
    compute_s=0.048588,
    compute_images=32,
    processor="v100",
    source="4 GPUs at 2,565 images/s, less the node's own sums (derived)",
    grids=((32, 32), (64, 32), (64, 34), (72, 48), (64, 64)),
    rates=(
        (4, 2565),
        (1024, 556522),
        (2048, 1091357),
        (3456, 1641853),
        (4096, 1929054),
    ),
)

RECIPE = adopt(
    you2017_32k.RECIPE,
    paper={
        "epochs": 90,
        "precision": "float16",
        "label_smoothing": 0.0,
        "optimizer.kind": "lars",
        "optimizer.lr": 29.0,
        "optimizer.momentum": 0.9,
        "lars.eps": 1e-6,
        "batch.phases": ((0.0, 32768, 32),),
        "batch.per_worker": 32,
        "bn.group": 1,
        "bn.evaluate": "last_batch",
        "images.flip": True,
        "reduction.wire": "float16",
        "reduction.algorithm": "torus2d",
    },
    code={
        "model.stride": "v1.5",
        "optimizer.form": "v",
        "optimizer.decay_bn": True,
        "optimizer.decay_fc_bias": True,
        "lars.eps_rule": "threshold",
        "lars.skip": "none",
        "lars.decay_in": "update",
        "lr.span_epochs": 90.0,
        "lr.warmup_epochs": 5.0,
        "bn.decay": 0.9,
        "bn.eps": 1e-5,
    },
    derived={"lr.reference_batch": 32768, "lr.warmup_start": 2.5},
    chosen={"optimizer.weight_decay": 5e-4, "lars.coefficient": 0.001},
    published=Published(
        batch="32K",
        workers=1024,
        hardware="1024 V100, 2 EDR",
        top1="75.40",
        seconds=505,
        baseline="one node of 4: 84.75 %",
        cluster=CLUSTER,
    ),
)
