"""``wg.compile``: record a function once per kind of arguments, replay it as one native call.

The recording is an ordinary run of the function. What it did is then planned (cpp/engine/planner.cpp): dead, equal and
constant operations go, biases and activations join their matmul, neighbouring elementwise operations run strip by
strip, and every buffer gets its place in one block of memory. No code is generated.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import _core, _pickling, _tree
from wengert._tensor import Tensor, asarray


class Compiled(_core.CompiledBase):
    """A function made by :func:`wengert.compile`. Call it like the function."""

    __wrapped__: Callable[..., Any]
    limit: int

    def __reduce__(self) -> Any:  # recordings stay behind: the copy makes its own
        return _pickling.reduced(self, _compiled, self.__wrapped__, self.limit)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def stats(self) -> list[dict[str, Any]]:
        """One dict a recording, the latest used first: its arguments, what each pass did, steps, bytes, replays."""
        return _core.compiled_stats(self)

    def profile(self, *args: Any, repeats: int = 50) -> Profile:
        """Replays the recording for these arguments and times each of its steps."""
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
    which there may be ``limit``. Parameters, optimizer state and other leaves are live: a replay reads and updates them
    in place. The results are constants. With ``check``, every replay is compared, bit by bit, with the plain function.
    TypeError names the Python line that takes a number out of a tensor (``float(x)``, ``if x > 0``) while recording.

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
    compiled = _compiled(function, limit)
    return _Checked(compiled) if check else compiled


def _compiled(function: Callable[..., Any], limit: int) -> Compiled:
    compiled: Compiled = _core.compiled(Compiled, function, limit)
    functools.update_wrapper(compiled, function)
    compiled.limit = limit
    return compiled


class _Checked:
    """Runs replay and function from the same state and compares results and the state they leave."""

    def __init__(self, compiled: Compiled):
        functools.update_wrapper(self, compiled)
        self.compiled = compiled

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> Any:
        return _pickling.reduced(self, _Checked, self.compiled)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        compiled, function = self.compiled, self.compiled.__wrapped__
        leaves: list[Tensor] = _core.compiled_written(compiled)
        before = [np.array(t.numpy()) for t in leaves]
        recordings = len(compiled.stats())
        out = compiled(*args, **kwargs)
        if len(compiled.stats()) > recordings:
            return out  # that was the plain function, being recorded
        after = [np.array(t.numpy()) for t in leaves]
        for t, value in zip(leaves, before, strict=True):
            t.assign(value)
        expected = function(*args, **kwargs)
        for i, (got, want) in enumerate(zip(_tree.leaves(out), _tree.leaves(expected), strict=True)):
            _same_bits(f"result {i}", got, want)
        for t, value in zip(leaves, after, strict=True):
            _same_bits(t.name or f"a leaf of shape {t.shape}", value, t)
        return out


def _same_bits(what: str, replayed: Any, eager: Any) -> None:
    a, b = (asarray(x).detach().numpy() for x in (replayed, eager))
    if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
        raise AssertionError(f"compile: {what} differs between replay and the plain function: {a} against {b}")
