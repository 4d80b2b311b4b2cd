"""The epoch loop, in native code: batches are gathered and the compiled step replayed without coming back to Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wengert import _core
from wengert._compile import compile
from wengert._tensor import ArrayLike, Tensor, asarray
from wengert.nn.init import Seed
from wengert.nn.module import Module
from wengert.optim import Optimizer


def fit(
    model: Module,
    x: ArrayLike,
    y: ArrayLike,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: Optimizer,
    *,
    batch_size: int = 32,
    epochs: int = 1,
    shuffle: bool = True,
    seed: Seed = None,
    on_epoch: Callable[[int, float], object] | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
    interval: float = 0.1,
) -> list[float]:
    """Trains ``model`` on the rows of x and y; returns the mean loss of each epoch.

    x and y have one row a sample. ``loss(model(batch_x), batch_y)`` is one number, such as :func:`wengert.nn.mse_loss`;
    a last batch with fewer rows is a step like the others. ``on_epoch(number, mean_loss)`` is called after each epoch
    and ends the training by returning True; ``on_progress(batch, batches, loss)`` at most every ``interval`` seconds.
    Modules are in the modes that they were given, or all in training mode if the model itself was not, as after an
    ``eval()`` in a callback; afterwards they are in the modes of before. Ctrl-C is noticed within a tenth of a second,
    between steps. Raises ValueError if x and y differ in rows or have none, TypeError for counts that are not whole
    numbers.

    >>> import numpy as np, wengert as wg
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> model = wg.nn.MLP([1, 16, 1], activation="tanh", seed=0)
    >>> optimizer = wg.optim.Adam(model.parameters(), lr=0.02)
    >>> losses = wg.nn.fit(model, x, x**2, wg.nn.mse_loss, optimizer, batch_size=16, epochs=100, seed=0)
    >>> losses[-1] < 0.01 < losses[0]
    True
    """
    for what, given, kind in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
        if not isinstance(given, kind):
            raise TypeError(f"fit: {what} must be a wengert {kind.__name__}, got a {type(given).__name__}")
    x, y = asarray(x), asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(f"fit: x of shape {x.shape} and y of shape {y.shape} need the same number of rows")
    if len(x) == 0:
        raise ValueError("fit: no rows to learn from")
    for name, count, least in (("batch_size", batch_size, 1), ("epochs", epochs, 0)):
        if not isinstance(count, (int, np.integer)):
            raise TypeError(f"fit: {name} must be a whole number, got {count!r}")
        if count < least:
            raise ValueError(f"fit: {name} must be at least {least}, got {count}")
    rng = np.random.default_rng(seed)

    @compile
    def step(batch_x: Tensor, batch_y: Tensor) -> Tensor:
        optimizer.zero_grad()
        value = loss(model(batch_x), batch_y)
        value.backward()
        optimizer.step()
        return value

    before = modes = _modes(model)
    history = []
    try:
        for number in range(1, epochs + 1):
            if not model.training:  # a callback may have evaluated it
                model.train()
                if modes[model]:
                    _set_modes(modes)
            modes = _modes(model)
            order = rng.permutation(len(x)) if shuffle else np.arange(len(x))
            losses = _core.compiled_epoch(step, [x, y], asarray(order), batch_size, on_progress, interval).numpy()
            rows = np.full(len(losses), batch_size)
            rows[-1] = len(x) - batch_size * (len(losses) - 1)
            history.append(float(losses @ rows) / len(x))
            if on_epoch is not None and on_epoch(number, history[-1]):
                break
    finally:
        _set_modes(before)
    return history


def _modes(model: Module) -> dict[Module, bool]:
    return {module: module.training for _, module in model.named_modules()}


def _set_modes(modes: dict[Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training
