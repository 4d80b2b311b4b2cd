"""Neural networks: modules, layers, initialisers and losses.

>>> import numpy as np, wengert as wg
>>> model = wg.nn.MLP([2, 8, 1], activation="tanh", seed=0)
>>> x, y = np.zeros((4, 2), np.float32), np.ones((4, 1), np.float32)
>>> loss = wg.nn.mse_loss(model(x), y)
>>> loss.backward()
>>> [(name, p.shape) for name, p in model.named_parameters()]
[('layers.0.weight', (2, 8)), ('layers.0.bias', (8,)), ('layers.1.weight', (8, 1)), ('layers.1.bias', (1,))]
"""

from wengert.nn import init
from wengert.nn.fit import fit
from wengert.nn.layers import ACTIVATIONS, MLP, BatchNorm1d, Dropout, LayerNorm, Linear, Sequential
from wengert.nn.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
)
from wengert.nn.module import Module

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "BatchNorm1d",
    "Dropout",
    "LayerNorm",
    "Linear",
    "Module",
    "Sequential",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "fit",
    "huber_loss",
    "init",
    "l1_loss",
    "mse_loss",
    "nll_loss",
]
