"""Optimisers of the large-minibatch papers that torch does not have.

The u-form of momentum, with or without Nesterov's step, is `torch.optim.SGD`.
"""

from trainer.optimizers.lamb import LAMB
from trainer.optimizers.lars import LARS
from trainer.optimizers.momentum import VMomentum
from trainer.optimizers.rmsprop_warmup import RMSpropWarmup

__all__ = ["LAMB", "LARS", "RMSpropWarmup", "VMomentum"]
