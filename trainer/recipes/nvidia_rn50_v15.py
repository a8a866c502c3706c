"""NVIDIA's ResNet-50 v1.5: SGD with a cosine, any batch.

NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5 (README); the
network is that of arXiv:1512.03385 with the stride in the 3x3.  76.9 to 77.2 % after 90
epochs, 75.8 to 76.0 after 50.

0.256 for each 256 images, momentum 0.875, decay 1/32768 that spares normalisation,
label smoothing 0.1.  The warm-up is Goyal et al.'s, chosen by us.
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
        "optimizer.kind": "sgd",
        "optimizer.lr": 0.256,
        "optimizer.momentum": 0.875,
        "optimizer.weight_decay": 1 / 32768,
        "optimizer.decay_bn": False,
        "lr.scaling": "linear",
        "lr.reference_batch": 256,
        "lr.shape": "cosine",
    },
    chosen={"optimizer.nesterov": False, "model.zero_gamma": False},
    published=Published(batch="any", top1="76.9-77.2", source="code"),
)
