"""``wg.compile``: record a function once per kind of arguments, replay it as one native call.

The recording is an ordinary run of the function. What it did is then planned (cpp/engine/plan/plan.cpp): dead, equal
and constant operations go, biases and activations join their matmul, neighbouring elementwise operations run strip by
strip, and every buffer gets its place in one block of memory. No code is generated.
"""

from __future__ import annotations

import functools
import inspect
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import _core, _pickling, _tree
from wengert._tensor import Tensor, asarray

_Method = types.MethodType


class Compiled(_core.CompiledBase):
    """A function made by :func:`wengert.compile`. Call it like the function."""

    function: Callable[..., Any]
    limit: int
    methods: dict[int, Compiled]  # by the id of the object that each belongs to
    life: weakref.ref[Any]  # of that object

    def __reduce__(self) -> Any:  # recordings stay behind: the copy makes its own
        return _pickling.reduced(self, _made, self.function, self.limit)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return _Method(self.methods.get(id(instance)) or self._for(instance), instance)

    def _for(self, instance: Any) -> Compiled:
        """The recordings of a method for one object, which live as long as it does and do not hold it."""
        key, methods = id(instance), self.methods
        try:
            life = weakref.ref(instance, lambda _: methods.pop(key, None))
        except TypeError:  # nothing tells when it is gone: the object is an argument like others
            return self
        own = _made(self.function, self.limit, method=True)
        own.life = life
        return methods.setdefault(key, own)

    def stats(self) -> list[dict[str, Any]]:
        """One dict a recording, the latest used first: its arguments, what each pass did, steps, bytes, replays."""
        return _core.compiled_stats(self)

    def profile(self, *args: Any, repeats: int = 50) -> Profile:
        """Replays the recording for these arguments and times each of its steps. Parameters stay as they are.

        ValueError if there is no such recording, or if ``repeats`` is less than 1.
        """
        return Profile([StepTime(*row) for row in _core.compiled_profile(self, args, repeats)])

    def __str__(self) -> str:
        return _core.compiled_str(self) or f"<compiled {self.__qualname__}: nothing recorded yet>"

    def __repr__(self) -> str:
        return f"<compiled {self.__qualname__}: {len(self.stats())} recordings>"


_core.set_compiled_type(Compiled)


class StepTime:
    """One step of a replay: what it is, seconds (median), floating-point operations, bytes touched."""

    def __init__(self, what: str, seconds: float, flops: float, nbytes: float):
        self.what, self.seconds, self.flops, self.bytes = what, seconds, flops, nbytes


class Profile:
    """The steps of a replay with their times; ``print`` shows a table, :meth:`plot` draws it."""

    def __init__(self, steps: list[StepTime]):
        self.steps = steps

    def __str__(self) -> str:
        total = sum(s.seconds for s in self.steps)
        lines = [f"{'µs':>9} {'share':>6} {'GFLOP/s':>8} {'GB/s':>6}  step"]
        for s in self.steps:
            rate = 1e-9 / max(s.seconds, 1e-9)
            numbers = f"{s.seconds * 1e6:9.2f} {s.seconds / total:6.1%} {s.flops * rate:8.1f} {s.bytes * rate:6.1f}"
            lines.append(f"{numbers}  {s.what[:96]}")
        return "\n".join([*lines, f"{total * 1e6:9.2f} in all"])

    def plot(self, path: str) -> None:
        """A bar for each step, written as a picture. Needs the [train] extra (matplotlib)."""
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("Profile.plot needs matplotlib: pip install 'wengert[train]'") from error
        figure = Figure(figsize=(9, 0.8 + 0.28 * len(self.steps)), layout="constrained")
        axes = figure.subplots()
        axes.barh([s.what[:70] for s in self.steps], [s.seconds * 1e6 for s in self.steps], color="#3b6ea5")
        axes.invert_yaxis()
        axes.set_xlabel("µs a replay")
        axes.tick_params(axis="y", labelsize=7, labelfontfamily="monospace")
        figure.savefig(path)


def compile(function: Callable[..., Any] | None = None, *, check: bool = False, limit: int = 32) -> Any:
    """The function, recorded at the first call with a new kind of arguments and replayed natively afterwards.

    Arrays (tensors, NumPy arrays and scalars, also nested in dicts, lists and tuples) are the inputs of a replay, known
    by dtype and shape. Python numbers, strings and control flow are frozen: another value means another recording, of
    which there may be ``limit``. NumPy arrays from outside of the function are frozen too. Parameters, optimizer state
    and other leaves are live: a replay reads and updates them in place. The results are constants. With ``check``,
    every replay is compared, bit by bit, with the plain function.
    A method that is decorated has its recordings per object, which live as long as the object and do not hold it.
    TypeError if the function is a generator or coroutine, or returns something that a replay could not make anew;
    ValueError if arguments or results are nested more than 100 deep. TypeError names the Python line that takes a
    number out of a tensor (``float(x)``, ``if x > 0``) while recording.

    >>> import numpy as np, wengert as wg
    >>> @wg.compile
    ... def f(x):
    ...     return wg.tanh(x) * 2.0
    >>> f(np.zeros(2)), f(np.ones(2))
    (Tensor([0., 0.]), Tensor([1.52318831, 1.52318831]))
    >>> f.stats()[0]["replays"]
    1
    """
    if function is None:
        return functools.partial(compile, check=check, limit=limit)
    for is_kind, kind in _CANNOT_REPLAY.items():
        if is_kind(function):
            name = getattr(function, "__qualname__", "it")
            raise TypeError(
                f"compile: {name} is {kind}, whose run a replay cannot produce anew; return a list or tuple"
            )
    compiled = _made(function, limit)
    return Checked(compiled, function) if check else compiled


_CANNOT_REPLAY: dict[Callable[[Any], bool], str] = {
    inspect.isgeneratorfunction: "a generator function",
    inspect.iscoroutinefunction: "a coroutine function",
    inspect.isasyncgenfunction: "an asynchronous generator function",
}


def _made(function: Callable[..., Any], limit: int, method: bool = False) -> Compiled:
    compiled: Compiled = _core.compiled(Compiled, function, limit, method)
    functools.update_wrapper(compiled, function)
    compiled.function, compiled.limit, compiled.methods = function, limit, {}
    return compiled


class Checked:
    """A compiled function that runs the function beside each replay, from the same state, and compares all they do."""

    def __init__(self, compiled: Any, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self.compiled = compiled
        self.function = function

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return Checked(self.compiled.__get__(instance), types.MethodType(self.function, instance))

    def __reduce__(self) -> Any:
        return _pickling.reduced(self, Checked, self.compiled, self.function)

    def __getattr__(self, name: str) -> Any:
        if name == "compiled":  # not there yet, in a copy that is being made
            raise AttributeError(name)
        return getattr(self.compiled, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        compiled = getattr(self.compiled, "__func__", self.compiled)
        written, graded = _core.compiled_changes(compiled)
        before = _State(written, graded)
        recordings = len(compiled.stats())
        out = self.compiled(*args, **kwargs)
        if len(compiled.stats()) > recordings:
            return out  # that was the plain function, being recorded
        after = _State(written, graded)
        before.restore()
        expected = self.function(*args, **kwargs)
        for i, (got, want) in enumerate(zip(_tree.leaves(out), _tree.leaves(expected), strict=True)):
            _same_bits(f"result {i}", got, want)
        after.compare(_State(written, graded))
        return out


class _State:
    """The values of some leaves and the .grad of some."""

    def __init__(self, written: list[Tensor], graded: list[Tensor]):
        self.values = [(t, np.array(t.numpy())) for t in written]
        self.grads = [(t, None if t.grad is None else np.array(t.grad.numpy())) for t in graded]

    def restore(self) -> None:
        for t, value in self.values:
            t.assign(value)
        for t, grad in self.grads:
            t.grad = grad

    def compare(self, plain: _State) -> None:
        for (t, replayed), (_, eager) in zip(self.values, plain.values, strict=True):
            _same_bits(t.name or f"a leaf of shape {t.shape}", replayed, eager)
        for (t, replayed_grad), (_, eager_grad) in zip(self.grads, plain.grads, strict=True):
            _same_bits(f".grad of {t.name or f'a leaf of shape {t.shape}'}", replayed_grad, eager_grad)


def _same_bits(what: str, replayed: Any, eager: Any) -> None:
    if replayed is eager:
        return
    if replayed is None or eager is None:
        raise AssertionError(
            f"compile: {what} differs between replay and the plain function: {replayed} against {eager}"
        )
    a, b = (asarray(x).detach().numpy() for x in (replayed, eager))
    if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
        raise AssertionError(f"compile: {what} differs between replay and the plain function: {a} against {b}")
