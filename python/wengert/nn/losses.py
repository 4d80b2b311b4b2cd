"""Losses. They refuse predictions and targets of different shapes, because broadcasting them is hardly ever meant.

``reduction`` is "mean", "sum" or "none" (one loss an example or entry).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import _core
from wengert._primitive import primitive
from wengert._tensor import ArrayLike, Tensor, asarray


def _pair(op: str, prediction: ArrayLike, target: ArrayLike) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape, the target in the dtype of the prediction."""
    x, t = asarray(prediction), asarray(target)
    if x.dtype.kind != "f":
        raise TypeError(f"{op}: the prediction must be float32 or float64, got {x.dtype}")
    if x.shape != t.shape:
        raise ValueError(
            f"{op}: prediction of shape {x.shape} and target of shape {t.shape} differ; losses do not broadcast: "
            + (f"use target.reshape({x.shape})" if x.size == t.size else "give one target for each prediction")
        )
    _refuse_empty(op, x)
    return x, t.astype(x.dtype)


def _refuse_empty(op: str, x: Tensor) -> None:
    if x.size == 0:
        raise ValueError(f"{op}: the batch is empty (shape {x.shape}), so there is no loss")


def _reduced(op: str, loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return _core.mean(loss, None, False)
    if reduction == "sum":
        return _core.sum(loss, None, False)
    if reduction != "none":
        raise ValueError(f"{op}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return loss


def mse_loss(prediction: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """(prediction - target)². ValueError if the shapes differ.

    >>> import wengert as wg
    >>> wg.nn.mse_loss([1.0, 2.0], [1.0, 4.0])
    Tensor(2.)
    """
    x, t = _pair("mse_loss", prediction, target)
    return _reduced("mse_loss", _core.square(x - t), reduction)


def l1_loss(prediction: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """|prediction - target|. ValueError if the shapes differ.

    >>> import wengert as wg
    >>> wg.nn.l1_loss([1.0, 2.0], [1.0, 4.0])
    Tensor(1.)
    """
    x, t = _pair("l1_loss", prediction, target)
    return _reduced("l1_loss", _core.abs(x - t), reduction)


def huber_loss(prediction: ArrayLike, target: ArrayLike, delta: float = 1.0, reduction: str = "mean") -> Tensor:
    """d²/2 for |d| up to ``delta``, delta (|d| - delta/2) beyond, with d = prediction - target (Huber 1964).

    >>> import wengert as wg
    >>> wg.nn.huber_loss([0.0, 0.0], [1.0, 3.0], reduction="none")
    Tensor([0.5, 2.5])
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    x, t = _pair("huber_loss", prediction, target)
    d = _core.abs(x - t)
    return _reduced("huber_loss", _core.where(d <= delta, 0.5 * _core.square(d), delta * (d - 0.5 * delta)), reduction)


def _labels(op: str, x: Tensor, labels: ArrayLike) -> Tensor:
    """Integer labels, one a row of x."""
    t = asarray(labels)
    if t.dtype.kind != "i":
        raise TypeError(f"{op}: labels must be integers, got {t.dtype}; use labels.astype('int64')")
    if t.shape != x.shape[:-1]:
        raise ValueError(f"{op}: scores of shape {x.shape} need labels of shape {x.shape[:-1]}, got {t.shape}")
    return t


def _scores(op: str, scores: ArrayLike) -> Tensor:
    x = asarray(scores)
    if x.dtype.kind != "f":
        raise TypeError(f"{op}: scores must be float32 or float64, got {x.dtype}")
    if x.ndim == 0:
        raise ValueError(f"{op}: scores need an axis of classes, got shape ()")
    _refuse_empty(op, x)
    return x


def cross_entropy(
    logits: ArrayLike, target: ArrayLike, reduction: str = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """-log softmax(logits)[label], over the last axis, without overflow.

    ``logits`` has shape (..., classes). ``target`` holds integer labels of shape (...), or float probabilities of the
    shape of the logits. With ``label_smoothing`` s, a target becomes (1-s) target + s/classes (Szegedy et al. 2016).
    ValueError for other shapes or an empty batch, TypeError for labels that are not integers, IndexError (with position
    and range) for a label that names no class.

    >>> import wengert as wg
    >>> wg.nn.cross_entropy([[0.0, 0.0], [0.0, 1000.0]], [0, 1])
    Tensor(0.34657359)
    """
    op = "cross_entropy"
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be in [0, 1], got {label_smoothing}")
    x, t = _scores(op, logits), asarray(target)
    if t.dtype.kind == "f" and t.shape == x.shape:
        log_p = _core.log_softmax(x, -1)
        impossible = _core.logical_and(log_p == -np.inf, t == 0)  # 0 log 0 is 0
        loss = -_core.sum(t.astype(x.dtype) * _core.where(impossible, 0.0, log_p), [-1], False)
    else:
        loss = _core.softmax_cross_entropy(x, _labels(op, x, t))
    if label_smoothing:
        spread = -_core.mean(_core.log_softmax(x, -1), [-1], False)
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    return _reduced(op, loss, reduction)


def nll_loss(log_probabilities: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """-log_probabilities[label], over the last axis: what follows a ``log_softmax``. Errors as in cross_entropy.

    >>> import wengert as wg
    >>> wg.nn.nll_loss([[-1.0, -2.0], [-3.0, -4.0]], [0, 1])
    Tensor(2.5)
    """
    op = "nll_loss"
    x = _scores(op, log_probabilities)
    picked = _core.gather(x.flatten(), _positions_of(_labels(op, x, target), op=op, classes=x.shape[-1]), 0)
    return _reduced(op, -_core.reshape(picked, x.shape[:-1]), reduction)


@primitive
def _positions_of(labels: Any, op: str, classes: int) -> Any:
    """Where the labels' scores stand in the flattened array of all."""
    labels = labels.ravel()
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if outside.size:
        raise IndexError(f"{op}: label {labels[outside[0]]} at position {outside[0]} is not in [0, {classes})")
    return np.arange(labels.size) * classes + labels


def binary_cross_entropy_with_logits(logits: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """-t log p - (1-t) log(1-p) with p = sigmoid(logits), accurate however large the logits.

    ``target`` has the shape of the logits and holds 0 and 1 (numbers or booleans) or probabilities.

    >>> import wengert as wg
    >>> wg.nn.binary_cross_entropy_with_logits([0.0, -1000.0], [1, 0], reduction="none")
    Tensor([0.69314718, 0.        ])
    """
    op = "binary_cross_entropy_with_logits"
    x, t = _pair(op, logits, target)
    # An infinite loss of what the target rules out is none.
    yes = _core.unless_undefined(t, t * _core.softplus(-x), 0.0)
    no = _core.unless_undefined(1.0 - t, (1.0 - t) * _core.softplus(x), 0.0)
    return _reduced(op, yes + no, reduction)
