"""Layers, and the multilayer perceptron made of them. Written in ordinary ops, so they differentiate to any order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert import _core, _functions
from wengert._tensor import ArrayLike, Tensor, asarray, no_grad, tensor
from wengert.nn.init import INITIALISERS, Seed
from wengert.nn.module import Module

Activation = Callable[[Any], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "relu": _core.relu,
    "tanh": _core.tanh,
    "gelu": _functions.gelu,
    "silu": _core.silu,
    "sigmoid": _core.sigmoid,
    "leaky_relu": _functions.leaky_relu,
    "elu": _functions.elu,
    "softplus": _core.softplus,
    "identity": asarray,
}
_RELU_LIKE = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")


def _choice(op: str, what: str, name: str, table: dict[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"{op}: {what} must be one of {', '.join(table)}; got {name!r}")
    return table[name]


def _positive(op: str, what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{op}: {what} must be a whole number of at least 1, got {value!r}")
    return int(value)


def _parameter(values: Any) -> Tensor:
    return tensor(values, requires_grad=True)


class Linear(Module):
    """``y = x @ weight + bias``, with a weight of shape (in, out) and a bias of shape (out,), at first 0.

    x has shape (..., in) and is converted to ``dtype`` (float32 or float64). ``init`` names a function of
    :mod:`wengert.nn.init`; ``seed`` is an int or a NumPy Generator. ValueError for an x of another width.

    >>> import wengert as wg
    >>> wg.nn.Linear(3, 2, seed=0)(wg.zeros((5, 3))).shape
    (5, 2)
    """

    matrices = ("weight",)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        init: str = "glorot_uniform",
        dtype: npt.DTypeLike = "float32",
        seed: Seed = None,
    ):
        shape = (_positive("Linear", "in_features", in_features), _positive("Linear", "out_features", out_features))
        self.weight = _parameter(_choice("Linear", "init", init, INITIALISERS)(shape, seed, dtype))
        self.bias = _parameter(np.zeros(shape[1], dtype)) if bias else None

    def forward(self, x: ArrayLike) -> Tensor:
        y = _core.matmul(_core.cast(asarray(x), self.weight.dtype), self.weight)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        rows, columns = self.weight.shape
        return f"{rows}, {columns}" + (", bias=False" if self.bias is None else "")


class Sequential(Module):
    """Modules and functions applied one after another; ``model[i]`` is the i-th.

    >>> import wengert as wg
    >>> model = wg.nn.Sequential(wg.nn.Linear(3, 4), wg.tanh, wg.nn.Linear(4, 1))
    >>> model(wg.zeros((2, 3))).shape, len(model)
    ((2, 1), 3)
    """

    def __init__(self, *layers: Callable[[Any], Any]):
        for i, layer in enumerate(layers):
            if not callable(layer):
                raise TypeError(f"Sequential: layer {i} is a {type(layer).__name__}; expected a module or a function")
            setattr(self, str(i), layer)
        self._length = len(layers)

    def forward(self, x: Any) -> Any:
        for i in range(len(self)):
            x = self[i](x)
        return x

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> Callable[[Any], Any]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"layer {i} of a Sequential of {len(self)}")
        layer: Callable[[Any], Any] = getattr(self, str(i % len(self)))
        return layer

    def parts(self) -> list[tuple[str, Any]]:
        return [(str(i), self[i]) for i in range(len(self))]


class MLP(Module):
    """A multilayer perceptron: linear layers with an activation (and dropout) between them, none after the last.

    ``sizes`` gives the width of the input, of each hidden layer, and of the output. ``activation`` is one of relu,
    tanh, gelu, silu, sigmoid, leaky_relu, elu, softplus, identity, or a function. Weights start by He for relu and
    its relatives, by Glorot for the others; biases at 0. ``parameters()`` are W0, b0, W1, b1, ...; inputs are
    converted to ``dtype``.

    >>> import wengert as wg
    >>> model = wg.nn.MLP([4, 16, 3], seed=0)
    >>> model(wg.zeros((5, 4))).shape, [p.shape for p in model.parameters()]
    ((5, 3), [(4, 16), (16,), (16, 3), (3,)])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Activation = "relu",
        *,
        bias: bool = True,
        dropout: float = 0.0,
        init: str | None = None,
        dtype: npt.DTypeLike = "float32",
        seed: Seed = None,
    ):
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes needs an input and an output width, got {list(sizes)}")
        sizes = [_positive("MLP", f"sizes[{i}]", n) for i, n in enumerate(sizes)]
        self.activation = activation if callable(activation) else _choice("MLP", "activation", activation, ACTIVATIONS)
        self.sizes = tuple(sizes)
        rng = np.random.default_rng(seed)
        inits = [init or ("he_uniform" if activation in _RELU_LIKE else "glorot_uniform")] * (len(sizes) - 1)
        inits[-1] = init or "glorot_uniform"  # no activation follows it
        self.layers = [
            Linear(n, m, bias, init=how, dtype=dtype, seed=rng)
            for n, m, how in zip(sizes[:-1], sizes[1:], inits, strict=True)
        ]
        self.dropout = Dropout(dropout, seed=rng) if dropout else None

    def forward(self, x: ArrayLike) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
            if self.dropout is not None:
                x = self.dropout(x)
        return asarray(self.layers[-1](x))


class Dropout(Module):
    """In training: sets entries to 0 with probability p, scales the rest by 1/(1-p) (Srivastava et al. 2014).

    >>> import wengert as wg
    >>> wg.nn.Dropout(0.5).eval()([1.0, 2.0])
    Tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5, *, seed: Seed = None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p must be in [0, 1), got {p}")
        self.p = p
        # Key and counter of the random numbers: saved with the model, so that training resumes with the same masks.
        self.random_state = tensor(np.array([np.random.default_rng(seed).integers(2**63), 0]))

    def forward(self, x: ArrayLike) -> Tensor:
        t = asarray(x)
        if not self.training or self.p == 0:
            return t
        return t * _core.dropout_mask(list(t.shape), t.dtype, self.p, self.random_state)

    def extra_repr(self) -> str:
        return f"{self.p}"


class BatchNorm1d(Module):
    """Each feature to mean 0 and variance 1 over the batch, then scaled and shifted (Ioffe & Szegedy 2015).

    x has shape (batch, features) or (batch, features, length). In training the statistics are the batch's own (and
    its gradients flow through them) and the running ones move towards them by ``momentum``; in evaluation the running
    ones are used. ValueError for other shapes, and for training on one value a feature.

    >>> import wengert as wg
    >>> wg.nn.BatchNorm1d(1, eps=0, dtype="float64")([[1.0], [3.0]]).tolist()
    [[-1.0], [1.0]]
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, dtype: npt.DTypeLike = "float32"
    ):
        n = _positive("BatchNorm1d", "num_features", num_features)
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = _parameter(np.ones(n, dtype)), _parameter(np.zeros(n, dtype))
        self.running_mean, self.running_var = tensor(np.zeros(n, dtype)), tensor(np.ones(n, dtype))

    def forward(self, x: ArrayLike) -> Tensor:
        x = _core.cast(asarray(x), self.weight.dtype)
        n = self.weight.size
        if x.ndim not in (2, 3) or x.shape[1] != n:
            raise ValueError(f"BatchNorm1d: expected shape (batch, {n}) or (batch, {n}, length), got {x.shape}")
        over = [0, 2][: x.ndim - 1]
        per_feature = (1, n, 1)[: x.ndim]
        if self.training:
            count = x.size // n
            if count < 2:
                raise ValueError(f"BatchNorm1d: needs more than one value a feature in training, got shape {x.shape}")
            mean = _core.mean(x, over, True)
            y, variance = self._normalised(x - mean, over, count)
            self._follow(mean.detach(), variance.detach() * (count / (count - 1)))
        else:
            mean, variance = self.running_mean.reshape(per_feature), self.running_var.reshape(per_feature)
            y = (x - mean) * _core.rsqrt(variance + self.eps)
        return y * self.weight.reshape(per_feature) + self.bias.reshape(per_feature)

    def _normalised(self, deviations: Tensor, over: list[int], count: int) -> tuple[Tensor, Tensor]:
        """The deviations by the root of their variance + eps, and this variance.

        Squares are taken in a unit of the size of that root, as without it they may leave the range. It cancels, and
        being a power of 2 it changes no bit of what stays in range.
        """
        root, least = math.sqrt(self.eps), 4 * float(np.finfo(deviations.dtype).tiny)
        size = _core.norm(deviations.detach(), over, True) / math.sqrt(count)
        unit = _core.exp2(_core.floor(_core.log2(_core.maximum(size, max(root, least)))))
        scaled = deviations / unit
        variance = _core.mean(_core.square(scaled), over, True)
        return scaled * _core.rsqrt(variance + self.eps / unit / unit), variance * _core.square(unit)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        with no_grad():
            for running, batch in ((self.running_mean, mean), (self.running_var, variance)):
                running.assign((1 - self.momentum) * running + self.momentum * batch.flatten())

    def extra_repr(self) -> str:
        return f"{self.weight.size}"


class LayerNorm(Module):
    """The last axes of each example to mean 0 and variance 1, then scaled and shifted (Ba, Kiros & Hinton 2016).

    ``shape`` is the size of the last axis, or a tuple for several. ValueError if x ends otherwise.

    >>> import wengert as wg
    >>> wg.nn.LayerNorm(2, eps=0, dtype="float64")([[1.0, 3.0], [10.0, 30.0]]).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(self, shape: int | Sequence[int], eps: float = 1e-5, *, dtype: npt.DTypeLike = "float32"):
        sizes = _core.integers("LayerNorm", "shape", shape)
        self.eps = eps
        self.weight, self.bias = _parameter(np.ones(sizes, dtype)), _parameter(np.zeros(sizes, dtype))

    def forward(self, x: ArrayLike) -> Tensor:
        x = _core.cast(asarray(x), self.weight.dtype)
        k = self.weight.ndim
        if x.ndim < k or x.shape[x.ndim - k :] != self.weight.shape:
            raise ValueError(f"LayerNorm: expected a shape that ends in {self.weight.shape}, got {x.shape}")
        rows = x if k == 1 else x.reshape(*x.shape[: x.ndim - k], self.weight.size)
        y = _core.layer_norm(rows, self.eps)
        return (y if k == 1 else y.reshape(x.shape)) * self.weight + self.bias

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))
