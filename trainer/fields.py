"""What a recipe can set: groups of fields, each group a frozen dataclass.

The defaults say "as plain as can be"; recipes give every field a value and a source.
"""

from dataclasses import dataclass

from collectives import algorithms
from trainer.setting import setting

ALGORITHMS = ("auto", *algorithms.names())
Phase = tuple[float, int, int]  # from this epoch of the span: images, images per worker


@dataclass(frozen=True)
class Model:
    """The network: a bottleneck ResNet."""

    stride: str = setting(
        "v1", "where a block strides: in its first 1x1, or 3x3", choices=("v1", "v1.5")
    )
    classes: int = setting(1000, "of the last layer", within="at least 1")
    width: int = setting(64, "channels of the stem", within="at least 1")
    blocks: tuple[int, ...] = setting((3, 4, 6, 3), "residual blocks per stage")
    zero_gamma: bool = setting(
        False, "gamma begins as 0 in the last normalisation of each block"
    )
    fan_mode: str = setting(
        "fan_out", "of He's initialisation", choices=("fan_in", "fan_out")
    )
    blurpool: bool = setting(False, "blur before each stride")


@dataclass(frozen=True)
class Optimizer:
    """The update of the weights, and which of them decay.

    ``form`` is how the rate enters the momentum.  "u": ``u <- m u + g; w <- w - lr u``.
    "v": ``v <- m v + lr g; w <- w - v``.  "corrected": v, with the momentum multiplied
    by lr / (last lr); "corrected_in_warmup": only while the rate climbs.  "hybrid", of
    LARS: the trust ratio is inside the momentum, the rate outside.
    """

    kind: str = setting(
        "sgd", "of update", choices=("sgd", "lars", "rmsprop_warmup", "lamb")
    )
    form: str = setting(
        "u",
        "how the rate enters the momentum: u <- m u + g, w <- w - lr u; or v <- m v + "
        "lr g, w <- w - v, corrected by lr / (last lr); hybrid: the trust ratio inside",
        choices=("u", "v", "corrected", "corrected_in_warmup", "hybrid"),
    )
    lr: float = setting(
        0.1, "rate, at a total batch of lr.reference_batch images", within="above 0"
    )
    momentum: float = setting(
        0.9, "part of the last update in the next", within="at least 0 and below 1"
    )
    nesterov: bool = setting(False, "Nesterov's momentum, of sgd")
    weight_decay: float = setting(
        1e-4, "added to a gradient, times the weight", within="at least 0"
    )
    decay_bn: bool = setting(True, "gamma and beta decay too")
    decay_fc_bias: bool = setting(True, "the last layer's bias decays too")


@dataclass(frozen=True)
class Lars:
    """LARS' layer-wise rates: coefficient |w| / (|g| + weight_decay |w| + eps)."""

    coefficient: float = setting(0.001, "of all rates", within="above 0")
    eps: float = setting(0.0, "see lars.eps_rule", within="at least 0")
    eps_rule: str = setting(
        "denominator",
        "eps is added there, or replaces one below it (nnabla)",
        choices=("denominator", "threshold"),
    )
    skip: str = setting(
        "none",
        "which parameters take the plain rate: gamma, beta and bias, or none",
        choices=("none", "bn_bias"),
    )
    decay_in: str = setting(
        "update",
        "where weights decay: in the update, or in the loss, so that g contains it",
        choices=("update", "loss"),
    )


@dataclass(frozen=True)
class Rmsprop:
    """RMSprop that gives way to SGD (Akiba et al., arXiv:1711.04325)."""

    transition: str = setting(
        "corrected",
        "from one to the other; as printed twice as steep at its end, clamped to 1",
        choices=("corrected", "as_printed"),
    )
    centre_epoch: float = setting(10.0, "epoch of the span where both have half")
    period_epochs: float = setting(5.0, "length of the transition", within="above 0")
    lr: float = setting(3e-4, "RMSprop's rate", within="above 0")
    decay: float = setting(
        0.99, "of the second moment", within="at least 0 and below 1"
    )
    eps: float = setting(1e-8, "added to its root", within="above 0")


@dataclass(frozen=True)
class NoiseScale:
    """The momentum as a function of the batch."""

    reading: str = setting(
        "none",
        "of the formula; none: optimizer.momentum whatever the batch",
        choices=("none", "smith_le", "as_printed"),
    )
    reference_batch: float = setting(
        32768.0, "images, for which optimizer.momentum holds", within="above 0"
    )
    clip: bool = setting(
        False, "into 0 to 0.99, instead of refusing a momentum outside"
    )


@dataclass(frozen=True)
class LearningRate:
    """The learning rate: a warm-up, then a shape.

    Epochs are those of a run of ``span_epochs``: any other length keeps the shape.
    """

    scaling: str = setting(
        "linear", "of the rate with the batch", choices=("linear", "sqrt", "none")
    )
    reference_batch: int = setting(
        256, "images, for which optimizer.lr holds", within="at least 1"
    )
    span_epochs: float = setting(
        90.0, "epochs that all others count in; a run of other length keeps the shape"
    )
    warmup_epochs: float = setting(
        0.0, "while the rate climbs to its peak", within="at least 0"
    )
    warmup_start: float | None = setting(
        None, "first rate, never scaled; null: optimizer.lr", within="at least 0"
    )
    shape: str = setting(
        "steps",
        "of the rate after the warm-up",
        choices=("constant", "steps", "poly", "cosine"),
    )
    drops: tuple[float, ...] = setting((30.0, 60.0, 80.0), "epochs of the steps")
    factor: float = setting(0.1, "at each drop", within="above 0")
    factors: tuple[float, ...] = setting(
        (), "before, between and after drops; []: powers of lr.factor"
    )
    power: float = setting(2.0, "of poly", within="above 0")
    end: float = setting(0.0, "last rate of poly and cosine", within="at least 0")
    origin: str = setting(
        "warmup",
        "where these begin: at the warm-up's end or the run's begin",
        choices=("warmup", "run"),
    )
    jumps: tuple[tuple[float, float], ...] = setting(
        (), "(epoch, optimizer.lr from there on)"
    )
    whole_steps: bool = setting(False, "count as tensorflow/tpu does, by updates")


@dataclass(frozen=True)
class Batch:
    """How many images one update sees.

    Either ``ranks * per_worker * accumulation``, or, with ``phases``, a total for each
    part of the run, whatever the number of ranks (`trainer.phases`).
    """

    per_worker: int = setting(
        32, "images; also what batch normalisation sees", within="at least 1"
    )
    accumulation: int = setting(1, "microbatches per update", within="at least 1")
    phases: tuple[Phase, ...] = setting(
        (), "(from this epoch on: total batch, images per worker), on any ranks"
    )


@dataclass(frozen=True)
class Norm:
    """Batch normalisation: over how many images, and with what in an evaluation."""

    group: int = setting(1, "workers that share their statistics", within="at least 1")
    ghost: int = setting(
        0,
        "images normalised together; 0: all of a worker's microbatch",
        within="at least 0",
    )
    decay: float = setting(
        0.9, "of the running averages", within="at least 0 and below 1"
    )
    eps: float = setting(1e-5, "added to variances", within="above 0")
    evaluate: str = setting(
        "moving",
        "with running averages, the last update's statistics, or new ones",
        choices=("moving", "last_batch", "recompute"),
    )
    recompute_batches: int = setting(
        4, "updates whose images recompute sees", within="at least 1"
    )


@dataclass(frozen=True)
class Images:
    """What is cut from an image, in training and in evaluation."""

    size: int = setting(224, "pixels, both sides", within="at least 1")
    resize: int = setting(
        256,
        "pixels, short side before the centre crop of evaluation",
        within="at least 1",
    )
    min_area: float = setting(
        0.08,
        "part of the image, smallest training crop",
        within="above 0 and at most 1",
    )
    flip: bool = setting(True, "train on mirror images too")
    shift: int = setting(
        0, "pixels, largest random translation of digits", within="at least 0"
    )
    crop: str = setting(
        "area",
        "what is seen in training",
        choices=("area", "area_log", "short_side", "fixed", "none"),
    )
    resize_max: int = setting(
        480, "pixels, largest short side of crop short_side", within="at least 1"
    )
    filter: str = setting("bicubic", "of resizing", choices=("bicubic", "bilinear"))
    jitter: float = setting(
        0.0,
        "largest change of brightness, contrast and saturation",
        within="at least 0 and at most 1",
    )
    lighting: float = setting(
        0.0,
        "standard deviation along ImageNet's principal colours",
        within="at least 0 and at most 1",
    )
    normalise: str = setting(
        "deviation",
        "what is subtracted and divided by",
        choices=("deviation", "mean", "caffe", "half"),
    )
    ramp: tuple[tuple[float, int], ...] = setting(
        (), "(epoch, size) of training images that grow"
    )
    test_crop: str = setting(
        "short_side",
        "the centre, of images.resize pixels or the fraction size / resize",
        choices=("short_side", "fraction"),
    )
    test_size: int = setting(0, "pixels; 0: images.size", within="at least 0")
    test_flip: bool = setting(
        False, "average the scores of an image and its mirror image"
    )


@dataclass(frozen=True)
class Reduction:
    """How gradients are summed.

    The flags have the fields' names without the group: ``--bucket-bytes``.
    """

    wire: str | None = setting(
        None,
        "dtype of what is sent; null: the gradients' own",
        choices=("float16", "bfloat16", "float32"),
    )
    algorithm: str = setting("auto", "of the gradients' allreduce", choices=ALGORITHMS)
    small_algorithm: str = setting(
        "auto", "of buckets of fewer than switch_bytes", choices=ALGORITHMS
    )
    switch_bytes: int = setting(
        0, "where --small-algorithm ends; 0: one for all", within="at least 0"
    )
    first_bucket_bytes: int = setting(
        1 << 20, "first bucket's size, in memory", within="at least 1"
    )
    bucket_bytes: int = setting(25 << 20, "other buckets' size", within="at least 1")
