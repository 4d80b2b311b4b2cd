"""Wengert: automatic differentiation for the CPU. A tape, made fast.

Tensors and ``backward`` as in PyTorch, ``grad`` and its relatives as in JAX, functions by their array-API names.
"""

from wengert import _elementwise, _functions, nn, optim
from wengert._elementwise import *
from wengert._files import load, save
from wengert._functions import *
from wengert._indexing import take
from wengert._primitive import primitive
from wengert._tape import Tape
from wengert._tensor import Tensor, asarray, no_grad, stop_gradient, tensor
from wengert._transforms import check_grads, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from wengert._version import __version__

__all__ = [
    "Tape",
    "Tensor",
    "__version__",
    "asarray",
    "check_grads",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "load",
    "nn",
    "no_grad",
    "optim",
    "primitive",
    "save",
    "stop_gradient",
    "take",
    "tensor",
    "value_and_grad",
    "vjp",
]
__all__ += _elementwise.__all__
__all__ += _functions.__all__
