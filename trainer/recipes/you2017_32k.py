"""You et al. 2017, LARS at 32K images.

Y. You, I. Gitman, B. Ginsburg: Large batch training of convolutional networks,
arXiv:1708.03888: base rate 40, 12 epochs of warm-up, 100 in all; 72.5 %.
``you2017_32k:90_epochs`` is torchlars' reproduction, from the authors' logs: 29 and 5
epochs of warm-up, 72.26 %.  29 is the value that Mikami et al. take over.

What cannot be promised: 75.4 %, which Mikami et al. report for "You's settings".  That
takes more augmentation or tuning than this paper has.  The number of workers is not
given; 1,024 of 32 images are chosen.
"""

from trainer.published import Published
from trainer.recipe import vary
from trainer.recipes import you2017_16k

RECIPE = vary(
    you2017_16k.RECIPE,
    paper={"optimizer.lr": 40.0, "lr.warmup_epochs": 12.0},
    derived={"lr.reference_batch": 32768},
    chosen={"batch.phases": ((0.0, 32768, 32),), "batch.per_worker": 32},
    published=Published(
        batch="32K",
        top1="72.5",
        notes=("with either augmentation; not 75.4",),
    ),
)

VARIANTS = {
    "90_epochs": vary(
        RECIPE,
        code={
            "epochs": 90,
            "lr.span_epochs": 90.0,
            "optimizer.lr": 29.0,
            "lr.warmup_epochs": 5.0,
            "lars.coefficient": 0.001,
            "lars.eps": 1e-8,
        },
        published=Published(
            batch="32K",
            top1="72.26",
            source="code",
            notes=("torchlars' reproduction, from the authors' logs",),
        ),
    )
}
