"""Mikami et al. 2018, experiment 3: 54K, then 64K images, 74.62 % in 115 s.

arXiv:1811.05233v2, tables 3 and 5.  As ``mikami2018_exp2``, but the batch grows at
epoch 30, too: 2,048 workers of 32 images.
"""

from dataclasses import replace

from trainer.recipe import vary
from trainer.recipes import mikami2018_exp2

RECIPE = vary(
    mikami2018_exp2.RECIPE,
    derived={"batch.phases": ((0.0, 55296, 16), (30.0, 65536, 32))},
    published=replace(
        mikami2018_exp2.RECIPE.published, batch="54K, 64K", top1="74.62", seconds=115
    ),
)
