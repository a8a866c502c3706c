"""Smith et al. 2017: do not decay the rate, increase the batch.

S. Smith, P.-J. Kindermans, C. Ying, Q. Le: Don't decay the learning rate, increase the
batch size.  arXiv:1711.00489.  8,192 images, then 16,384; 76.1 % in 30 minutes on a
full TPU pod.

Goyal et al.'s recipe up to epoch 30.  There the batch doubles and the rate falls to a
fifth, which lowers the noise of an update to a tenth, as their drop does; from epoch 60
and 80 on it falls to a tenth.  The split of the tenth and the epoch are an inference of
equal noise, and so chosen by us; the images per worker are, too.
"""

from trainer.published import Published
from trainer.recipe import adopt
from trainer.recipes import goyal2017

RECIPE = adopt(
    goyal2017.RECIPE,
    chosen={
        "batch.phases": ((0.0, 8192, 32), (30.0, 16384, 32)),
        "lr.factors": (1.0, 0.2, 0.02, 0.002),
    },
    published=Published(
        batch="8K -> 16K", hardware="a TPU pod", top1="76.1", seconds=30 * 60
    ),
)
