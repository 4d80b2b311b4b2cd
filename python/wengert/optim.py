"""Optimizers: they change parameters in place by the gradients that ``backward`` left in ``.grad``.

``lr`` and the other numbers are plain attributes and may be changed between steps; the schedules at the end do that.
A parameter without a gradient is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert import _core
from wengert._tensor import Tensor, asarray, no_grad, tensor


def _checked_parameters(op: str, params: Iterable[Tensor]) -> list[Tensor]:
    if isinstance(params, Tensor) or not isinstance(params, Iterable):
        raise TypeError(
            f"{op}: params must be a list of tensors, got a {type(params).__name__}; use model.parameters()"
        )
    checked = list(params)
    for i, p in enumerate(checked):
        if not isinstance(p, Tensor):
            raise TypeError(f"{op}: parameter {i} is a {type(p).__name__}, expected a tensor")
        if not p.is_leaf or not p.requires_grad:
            why = "has requires_grad=False" if p.is_leaf else "is the result of a computation"
            raise ValueError(f"{op}: parameter {i} of shape {p.shape} {why}; use leaves with requires_grad=True")
    if not checked:
        raise ValueError(f"{op}: the list of parameters is empty")
    if len({id(p) for p in checked}) != len(checked):
        raise ValueError(f"{op}: the list holds a parameter twice")
    return checked


class _Number:
    """An attribute such as ``lr``. It is kept in a small tensor, so that compiled steps see changes to it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer, owner: type) -> float:
        return float(optimizer.live.numpy()[optimizer.numbers.index(self.name)])

    def __set__(self, optimizer: Optimizer, value: float) -> None:
        optimizer.check_number(self.name, value)
        numbers = np.array(optimizer.live.numpy())
        numbers[optimizer.numbers.index(self.name)] = value
        optimizer.live.assign(numbers)


class _Rate(_Number):
    """``lr``. What is assigned is the rate that schedules start from, and ``initial_lr`` from then on."""

    def __set__(self, optimizer: Optimizer, value: float) -> None:
        super().__set__(optimizer, value)
        optimizer.initial_lr = float(value)


class Optimizer:
    """The base of all optimizers: the parameters, a step count and the state kept for each of them."""

    lr = _Rate()
    weight_decay = _Number()

    numbers: tuple[str, ...] = ("lr",)  # in the order of ``live``
    slots: tuple[str, ...] = ()  # the names of the arrays kept for each parameter

    def __init__(self, params: Iterable[Tensor], lr: float):
        self.parameters = _checked_parameters(type(self).__name__, params)
        self.live = tensor(np.zeros(len(self.numbers)))
        self.steps = [tensor(0.0) for _ in self.parameters]  # one without a gradient takes no step
        self.state: dict[str, list[Tensor]] = {
            slot: [tensor(np.zeros(p.shape, p.dtype)) for p in self.parameters] for slot in self.slots
        }
        self.schedules: list[Schedule] = []
        self.initial_lr = 0.0
        self.lr = lr

    def follow(self, schedules: list[Schedule]) -> None:
        """From now on ``lr`` is ``initial_lr`` times the factors of these schedules."""
        _Number.__set__(vars(Optimizer)["lr"], self, self.initial_lr * math.prod(s.factor(s.t) for s in schedules))
        self.schedules = schedules

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"schedules": []}  # a schedule brings its optimizer along, not the other way round

    def check_number(self, name: str, value: float) -> None:
        """ValueError if the attribute cannot take this value."""
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{type(self).__name__}: {name} must be a number of at least 0, got {value}")
        if name == "momentum" and value and "velocity" not in self.state:
            raise ValueError(f"{type(self).__name__}: made without momentum, so it keeps no velocity; make a new one")

    def number(self, name: str, like: Tensor) -> Tensor:
        """The attribute as a 0-d tensor of the dtype of ``like``, for updates written in tensors."""
        return self.live[self.numbers.index(name)].astype(like.dtype)

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """One update of every parameter that has a gradient. RuntimeError if none has; then nothing changes."""
        work = [(i, p, g) for i, p in enumerate(self.parameters) if (g := p.grad) is not None]
        if not work:
            raise RuntimeError(f"{type(self).__name__}.step: no parameter has a gradient; call loss.backward() first")
        with no_grad():
            self.update_all(work)

    def update_all(self, work: list[tuple[int, Tensor, Tensor]]) -> None:
        """Moves each parameter, given with its number, by its gradient."""
        for i, p, g in work:
            self.update(i, p, g)

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Parameter i, moved by its gradient."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of the numbers, step counts and arrays, all as NumPy arrays, ready for :func:`wengert.save`."""
        state: dict[str, npt.NDArray[Any]] = {name: np.array(float(getattr(self, name))) for name in self.numbers}
        state["initial_lr"] = np.array(self.initial_lr)
        state["steps"] = np.array([t.item() for t in self.steps])
        for slot, arrays in self.state.items():
            state |= {f"{slot}.{i}": np.array(a.numpy()) for i, a in enumerate(arrays)}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a ``state_dict``. ValueError, with nothing changed, if it is not one of the same optimizer."""
        op = f"{type(self).__name__}.load_state_dict"
        own = self.state_dict()
        if "lr" in state:
            state = {"initial_lr": state["lr"], **state}  # which the first version did not write
        if own.keys() != state.keys():
            raise ValueError(f"{op}: the names differ: {', '.join(sorted(own.keys() ^ state.keys()))}")
        new = {name: np.array(asarray(state[name]).numpy()) for name in own}
        for name, value in new.items():
            if value.shape != own[name].shape:
                raise ValueError(f"{op}: {name} has shape {own[name].shape}, the state has {value.shape}")
        for name in self.numbers:
            setattr(self, name, float(new[name]))
        self.initial_lr = float(new["initial_lr"])
        for t, n in zip(self.steps, new["steps"], strict=True):
            t.assign(n)
        for slot, arrays in self.state.items():
            for i, a in enumerate(arrays):
                a.assign(new[f"{slot}.{i}"])


class SGD(Optimizer):
    """Gradient descent: p -= lr v, where v = momentum v + g + weight_decay p (with ``nesterov``: g + momentum v).

    >>> import wengert as wg
    >>> p = wg.tensor([1.0, 2.0], requires_grad=True)
    >>> opt = wg.optim.SGD([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> p.numpy()
    array([0.8, 1.6])
    """

    numbers = ("lr", "momentum", "weight_decay")
    slots: tuple[str, ...] = ("velocity",)
    momentum = _Number()

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov needs a momentum")
        if momentum == 0:
            self.slots = ()
        super().__init__(params, lr)
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    def update_all(self, work: list[tuple[int, Tensor, Tensor]]) -> None:
        velocity = self.state["velocity"] if self.slots else [None] * len(self.parameters)
        _core.sgd_step([(p, g, velocity[i]) for i, p, g in work], self.live, self.nesterov)


class Adam(Optimizer):
    """Steps of the size of lr, by running means of the gradient and its square (Kingma & Ba 2015).

    ``weight_decay`` is L2 regularisation, added to the gradient; see AdamW for the other kind.

    >>> import wengert as wg
    >>> p = wg.tensor([1.0, -2.0], requires_grad=True)
    >>> opt = wg.optim.Adam([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> p.numpy().round(6)
    array([ 0.5, -1.5])
    """

    numbers = ("lr", "beta1", "beta2", "eps", "weight_decay")
    slots = ("mean", "square")
    decoupled = False
    beta1, beta2, eps = _Number(), _Number(), _Number()

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, lr)
        self.beta1, self.beta2 = betas
        self.eps, self.weight_decay = eps, weight_decay

    def check_number(self, name: str, value: float) -> None:
        super().check_number(name, value)
        if name in ("beta1", "beta2") and value >= 1:
            raise ValueError(f"{type(self).__name__}: betas must be below 1, got {name} = {value}")

    def update_all(self, work: list[tuple[int, Tensor, Tensor]]) -> None:
        mean, square = self.state["mean"], self.state["square"]
        _core.adam_step([(p, g, mean[i], square[i], self.steps[i]) for i, p, g in work], self.live, self.decoupled)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p shrinks by lr weight_decay p (Loshchilov & Hutter 2019).

    >>> import wengert as wg
    >>> wg.optim.AdamW(wg.nn.Linear(2, 1).parameters()).weight_decay
    0.01
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)


class RMSprop(Optimizer):
    """p -= lr g / (sqrt(mean of g²) + eps), with a running mean of rate ``alpha`` (Hinton 2012).

    >>> import wengert as wg
    >>> p = wg.tensor(3.0, requires_grad=True)
    >>> opt = wg.optim.RMSprop([p], lr=0.1, alpha=0.0)
    >>> (p * p).backward()
    >>> opt.step()
    >>> round(p.item(), 6)
    2.9
    """

    numbers = ("lr", "alpha", "eps", "weight_decay", "momentum")
    slots: tuple[str, ...] = ("square",)
    alpha, eps, momentum = _Number(), _Number(), _Number()

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ):
        if momentum:
            self.slots = ("square", "velocity")
        super().__init__(params, lr)
        self.alpha, self.eps, self.weight_decay, self.momentum = alpha, eps, weight_decay, momentum

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        square, alpha = self.state["square"][i], self.number("alpha", p)
        g = g + self.number("weight_decay", p) * p
        square.assign(alpha * square + (1 - alpha) * g * g)
        move = g / (_core.sqrt(square) + self.number("eps", p))
        if "velocity" in self.state:
            velocity = self.state["velocity"][i]
            velocity.assign(self.number("momentum", p) * velocity + move)
            move = velocity
        p.assign(p - self.number("lr", p) * move)


class Adagrad(Optimizer):
    """p -= lr g / (sqrt(sum of g²) + eps), the sum over all steps (Duchi, Hazan & Singer 2011).

    >>> import wengert as wg
    >>> p = wg.tensor(3.0, requires_grad=True)
    >>> opt = wg.optim.Adagrad([p], lr=0.1)
    >>> (p * p).backward()
    >>> opt.step()
    >>> round(p.item(), 6)
    2.9
    """

    numbers = ("lr", "lr_decay", "eps", "weight_decay")
    slots = ("square",)
    lr_decay, eps = _Number(), _Number()

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, lr)
        self.lr_decay, self.eps, self.weight_decay = lr_decay, eps, weight_decay

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        square, t = self.state["square"][i], self.steps[i]
        g = g + self.number("weight_decay", p) * p
        square.assign(square + g * g)
        rate = self.number("lr", p) / (1 + t.astype(p.dtype) * self.number("lr_decay", p))
        t.assign(t + 1.0)
        p.assign(p - rate * g / (_core.sqrt(square) + self.number("eps", p)))


def clip_grad_norm_(params: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scales all gradients so that together they are at most ``max_norm`` long; returns their length before.

    >>> import wengert as wg
    >>> p = wg.tensor([3.0, 4.0], requires_grad=True)
    >>> (p * p).sum().backward()
    >>> wg.optim.clip_grad_norm_([p], 1.0), p.grad.numpy().round(5)
    (Tensor(10.), array([0.6, 0.8]))
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be positive, got {max_norm}")
    with no_grad():
        grads = [(p, p.grad) for p in _checked_parameters("clip_grad_norm_", params) if p.grad is not None]
        norm = _core.sqrt(
            sum((_core.sum(_core.square(g.astype("float64")), None, False) for _, g in grads), tensor(0.0))
        )
        scale = _core.minimum(1.0, max_norm / (norm + 1e-6))
        for p, g in grads:
            p.grad = g * scale.astype(g.dtype)
    return norm


class Schedule:
    """Sets ``optimizer.lr`` to ``optimizer.initial_lr`` times ``factor(t)``, where t counts the calls of ``step``.

    The factors of all schedules of an optimizer are multiplied, so a warm-up and a decay work together. A schedule that
    is made after the others have taken steps begins a new phase and replaces them; a step of one replaced raises
    RuntimeError. Assigning to ``optimizer.lr`` sets the initial rate. After a restart, load the states of optimizer and
    schedules; the factor itself is not part of the state.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.tensor(1.0, requires_grad=True)], lr=0.5)
    >>> schedule = wg.optim.Schedule(opt, lambda t: 1 / (1 + t))
    >>> schedule.step()
    >>> opt.lr
    0.25
    """

    parts: Sequence[Schedule] = ()  # schedules that now act through this one

    def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: optimizer must be an Optimizer, got a {type(optimizer).__name__}")
        self.optimizer, self.t, self._factor = optimizer, 0, factor
        others = [] if any(s.t for s in optimizer.schedules) else optimizer.schedules
        optimizer.follow([*(s for s in others if s not in self.parts), self])

    def factor(self, t: int) -> float:
        """What the initial rate is multiplied by after t calls of ``step``."""
        return float(self._factor(t))

    def step(self) -> None:
        """Moves on by one: call it after each epoch, or each step, as the schedule was meant."""
        if self not in self.optimizer.schedules:
            raise RuntimeError(
                f"{type(self).__name__}.step: a later schedule, or one that contains it, has taken over the optimizer"
            )
        self._go(self.t + 1)

    def _go(self, t: int) -> None:
        before, self.t = self.t, t
        try:
            self.optimizer.follow(self.optimizer.schedules)
        except BaseException:
            self.t = before
            raise

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """The count of steps, ready for :func:`wengert.save`."""
        return {"t": np.array(self.t)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a ``state_dict``. ValueError, with nothing changed, if it is none of a schedule."""
        if state.keys() != {"t"}:
            raise ValueError(f"{type(self).__name__}.load_state_dict: expected the name t, got {', '.join(state)}")
        self._go(int(asarray(state["t"]).item()))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"acts": self in self.optimizer.schedules}

    def __setstate__(self, state: dict[str, Any]) -> None:
        acts = state.pop("acts")
        vars(self).update(state)
        if acts:
            self.optimizer.follow([*self.optimizer.schedules, self])


class WarmupLR(Schedule):
    """lr from ``start`` times itself up to itself, along a line of ``total`` calls (Goyal et al. 2017).

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> warmup, cosine = wg.optim.WarmupLR(opt, total=2, start=0.5), wg.optim.CosineLR(opt, total=4)
    >>> [(warmup.step(), cosine.step(), round(opt.lr, 6))[2] for _ in range(4)]
    [0.640165, 0.5, 0.146447, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total: int, start: float = 0.0):
        _check_total("WarmupLR", total)
        self.total, self.start = total, start
        super().__init__(optimizer, self.factor)

    def factor(self, t: int) -> float:
        return self.start + (1 - self.start) * min(t, self.total) / self.total


class StepLR(Schedule):
    """lr times ``gamma`` after every ``every`` calls.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = wg.optim.StepLR(opt, every=2, gamma=0.5)
    >>> [(schedule.step(), opt.lr)[1] for _ in range(4)]
    [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, every: int, gamma: float = 0.1):
        _check_total("StepLR", every, "every")
        self.every, self.gamma = every, gamma
        super().__init__(optimizer, self.factor)

    def factor(self, t: int) -> float:
        return float(self.gamma ** (t // self.every))


class CosineLR(Schedule):
    """lr down to ``final`` times itself along half a cosine of ``total`` calls (Loshchilov & Hutter 2017).

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = wg.optim.CosineLR(opt, total=2)
    >>> [round((schedule.step(), opt.lr)[1], 6) for _ in range(2)]
    [0.5, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total: int, final: float = 0.0):
        _check_total("CosineLR", total)
        self.total, self.final = total, final
        super().__init__(optimizer, self.factor)

    def factor(self, t: int) -> float:
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(t, self.total) / self.total)) / 2


class ChainLR(Schedule):
    """Schedules of one optimizer one after another, each counting from its own beginning: the k-th for ``lengths[k]``
    calls, the last, which has no length, ever after.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = wg.optim.ChainLR([wg.optim.WarmupLR(opt, total=2), wg.optim.CosineLR(opt, total=2)], lengths=[2])
    >>> [round((schedule.step(), opt.lr)[1], 6) for _ in range(4)]
    [0.5, 1.0, 0.5, 0.0]
    """

    def __init__(self, schedules: Sequence[Schedule], lengths: Sequence[int]):
        if not schedules or len(lengths) != len(schedules) - 1:
            raise ValueError(f"ChainLR: {len(schedules)} schedules need a length for each but the last, got {lengths}")
        optimizer = schedules[0].optimizer
        if any(s.optimizer is not optimizer for s in schedules):
            raise ValueError("ChainLR: the schedules are of different optimizers")
        for length in lengths:
            _check_total("ChainLR", length, "lengths")
        self.parts, self.lengths = list(schedules), list(lengths)
        super().__init__(optimizer, self.factor)

    def factor(self, t: int) -> float:
        for part, length in zip(self.parts, self.lengths, strict=False):
            if t < length:
                return part.factor(t)
            t -= length
        return self.parts[-1].factor(t)


def _check_total(op: str, calls: int, name: str = "total") -> None:
    if calls < 1:
        raise ValueError(f"{op}: {name} must be at least 1, got {calls}")
