"""Wengert: automatic differentiation for the CPU. A tape, made fast.

Tensors and ``backward`` as in PyTorch, ``grad`` and its relatives as in JAX, functions by their array-API names.
"""

from wengert import (
    _aliases,
    _elementwise,
    _functions,
    _indexing,
    _padding,
    _products,
    _reductions,
    _shapes,
    linalg,
    nn,
    optim,
)
from wengert import _numpy as _numpy
from wengert._aliases import *
from wengert._compile import Compiled, compile
from wengert._config import get_num_threads, set_num_threads, show_config, threads
from wengert._elementwise import *
from wengert._files import load, save
from wengert._functions import *
from wengert._indexing import *
from wengert._padding import *
from wengert._primitive import primitive
from wengert._products import *
from wengert._reductions import *
from wengert._shapes import *
from wengert._tape import Tape
from wengert._tensor import Tensor, asarray, no_grad, stop_gradient, tensor
from wengert._transforms import check_grads, grad, hessian, hvp, jacobian, jvp, linearize, taylor, value_and_grad, vjp
from wengert._version import __version__

__all__ = [
    "Compiled",
    "Tape",
    "Tensor",
    "__version__",
    "asarray",
    "check_grads",
    "compile",
    "get_num_threads",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "linalg",
    "linearize",
    "load",
    "nn",
    "no_grad",
    "optim",
    "primitive",
    "save",
    "set_num_threads",
    "show_config",
    "stop_gradient",
    "taylor",
    "tensor",
    "threads",
    "value_and_grad",
    "vjp",
]
__all__ += _aliases.__all__
__all__ += _elementwise.__all__
__all__ += _functions.__all__
__all__ += _indexing.__all__
__all__ += _padding.__all__
__all__ += _products.__all__
__all__ += _reductions.__all__
__all__ += _shapes.__all__
