"""What a recipe can set: groups of fields, each group a frozen dataclass.

The defaults say "as plain as can be"; recipes give every field a value and a source.
`CHOICES` are the valid values of the fields that are words.
"""

from dataclasses import dataclass

Phase = tuple[float, int, int]  # from this epoch of the span: images, images per worker


@dataclass(frozen=True)
class Model:
    """The network: a bottleneck ResNet."""

    stride: str = "v1"  # where a block's stride is: "v1" first 1x1, "v1.5" 3x3
    classes: int = 1000
    width: int = 64  # channels of the stem
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # residual blocks per stage
    zero_gamma: bool = False  # gamma 0 in the last normalisation of each block
    fan_mode: str = "fan_out"  # of He's initialisation: "fan_in" or "fan_out"
    blurpool: bool = False  # blur before each stride


@dataclass(frozen=True)
class Optimizer:
    """The update of the weights, and which of them decay.

    ``form`` is how the rate enters the momentum.  "u": ``u <- m u + g; w <- w - lr u``.
    "v": ``v <- m v + lr g; w <- w - v``.  "corrected": v, with the momentum multiplied
    by lr / (last lr); "corrected_in_warmup": only while the rate climbs.  "hybrid", of
    LARS: the trust ratio is inside the momentum, the rate outside.
    """

    kind: str = "sgd"
    form: str = "u"
    lr: float = 0.1  # at a total batch of lr.reference_batch images
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_bn: bool = True  # whether gamma and beta are decayed too
    decay_fc_bias: bool = True  # and the one other bias, of the last layer


@dataclass(frozen=True)
class Lars:
    """Layer-wise rates: ``coefficient * |w| / (|g| + weight_decay * |w| + eps)``."""

    coefficient: float = 0.001
    eps: float = 0.0
    eps_rule: str = "denominator"  # "threshold": only to one below eps, as in nnabla
    skip: str = "none"  # "bn_bias": gamma, beta and bias take the plain rate
    decay_in: str = "update"  # of the optimiser, or the "loss": g contains it


@dataclass(frozen=True)
class Rmsprop:
    """RMSprop that gives way to SGD (Akiba et al., arXiv:1711.04325, section 3.1)."""

    transition: str = "corrected"  # or "as_printed": jumps, clamped to 1
    centre_epoch: float = 10.0  # of the span, where both have half
    period_epochs: float = 5.0
    lr: float = 3e-4
    decay: float = 0.99  # of the second moment
    eps: float = 1e-8


@dataclass(frozen=True)
class NoiseScale:
    """The momentum as a function of the batch (`trainer.noise_scale`)."""

    reading: str = "none"  # "none": optimizer.momentum whatever the batch
    reference_batch: int = 32768  # images, for which optimizer.momentum holds
    clip: bool = False  # into [0, 0.99], instead of refusing what is outside


@dataclass(frozen=True)
class LearningRate:
    """The learning rate: a warm-up, then a shape (`trainer.lr`).

    Epochs are those of a run of ``span_epochs``: any other length keeps the shape.
    """

    scaling: str = "linear"  # of the rate with the batch: "linear", "sqrt" or "none"
    reference_batch: int = 256  # images, for which optimizer.lr holds
    span_epochs: float = 90.0
    warmup_epochs: float = 0.0
    warmup_start: float | None = None  # first rate, never scaled; None: optimizer.lr
    shape: str = "steps"
    drops: tuple[float, ...] = (30.0, 60.0, 80.0)  # epochs, of "steps"
    factor: float = 0.1  # at each drop
    factors: tuple[float, ...] = ()  # before, between and after drops; (): powers
    power: float = 2.0  # of "poly"
    end: float = 0.0  # last rate of "poly" and "cosine"
    origin: str = "warmup"  # where these begin: at the warm-up's end or the "run"'s
    jumps: tuple[tuple[float, float], ...] = ()  # (epoch, optimizer.lr from there on)
    whole_steps: bool = False  # count as tensorflow/tpu does, by updates


@dataclass(frozen=True)
class Batch:
    """How many images one update sees.

    Either ``ranks * per_worker * accumulation``, or, with ``phases``, a total for each
    part of the run, whatever the number of ranks (`trainer.phases`).
    """

    per_worker: int = 32  # images; also what batch normalisation sees
    accumulation: int = 1  # microbatches per update
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True)
class Norm:
    """Batch normalisation: over how many images, and with what in an evaluation."""

    group: int = 1  # workers that share their statistics
    ghost: int = 0  # images normalised together; 0: all of a worker's microbatch
    decay: float = 0.9  # of the running averages
    eps: float = 1e-5
    evaluate: str = "moving"  # averages, or statistics of the "last_batch", "recompute"


@dataclass(frozen=True)
class Images:
    """What is cut from an image, in training and in evaluation."""

    size: int = 224  # pixels, both sides
    resize: int = 256  # pixels, short side before the centre crop of evaluation
    min_area: float = 0.08  # of the image, smallest training crop
    flip: bool = True
    shift: int = 0  # pixels, largest random translation (digits only)
    crop: str = "area"  # what is seen in training (`trainer.images.crops`)
    resize_max: int = 480  # pixels, largest short side of the crop "short_side"
    filter: str = "bicubic"  # of resizing
    jitter: float = 0.0  # of brightness, contrast and saturation, largest part
    lighting: float = 0.0  # along ImageNet's principal colours, standard deviation
    normalise: str = "deviation"  # what is subtracted and divided by
    ramp: tuple[tuple[float, int], ...] = ()  # (epoch, size), linear in between
    test_crop: str = "short_side"  # of "resize" pixels, or its "fraction" size / resize
    test_size: int = 0  # pixels; 0: size
    test_flip: bool = False  # average the scores of an image and its mirror image


@dataclass(frozen=True)
class Reduction:
    """How gradients are summed; the flags of the same names, without the group."""

    wire: str | None = None  # dtype of what is sent; None: the gradients' own
    algorithm: str = "auto"
    small_algorithm: str = "auto"  # of buckets of fewer than switch_bytes
    switch_bytes: int = 0  # 0: one algorithm for all
    first_bucket_bytes: int = 1 << 20
    bucket_bytes: int = 25 << 20  # in memory, as all of these


CHOICES: dict[str, tuple[str, ...]] = {
    "precision": ("float32", "bfloat16", "float16"),
    "optimizer.kind": ("sgd", "lars", "rmsprop_warmup", "lamb"),
    "optimizer.form": ("u", "v", "corrected", "corrected_in_warmup", "hybrid"),
    "lars.eps_rule": ("denominator", "threshold"),
    "lars.skip": ("none", "bn_bias"),
    "lars.decay_in": ("update", "loss"),
    "rmsprop.transition": ("corrected", "as_printed"),
    "noise_scale.reading": ("none", "smith_le", "as_printed"),
    "lr.scaling": ("linear", "sqrt", "none"),
    "lr.shape": ("constant", "steps", "poly", "cosine"),
    "lr.origin": ("warmup", "run"),
    "bn.evaluate": ("moving", "last_batch", "recompute"),
    "images.crop": ("area", "area_log", "short_side", "fixed", "none"),
    "images.test_crop": ("short_side", "fraction"),
    "images.filter": ("bicubic", "bilinear"),
    "images.normalise": ("deviation", "mean", "caffe", "half"),
}
