"""Module: a function with parameters, which finds them by looking at its own attributes.

Whatever is an attribute counts: a tensor that requires gradients is a parameter, any other tensor is a buffer, a
module is a child, and lists, tuples and dicts of these are looked into. Nothing needs to be registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wengert import _core
from wengert._tape import calling
from wengert._tensor import Tensor, asarray


class _Training:
    """The attribute ``Module.training``. A recording notes which modules were asked, and holds as long as they say so.

    The value stands in the module's ``__dict__``, as that of a plain attribute would.
    """

    def __get__(self, module: Module | None, owner: type | None = None) -> bool:
        return True if module is None else _core.mode_met(module)

    def __set__(self, module: Module, value: bool) -> None:
        vars(module)["training"] = value


class StateDict(dict[str, Any]):
    """A ``state_dict`` of a module: a dict, whose type says that matrices are laid out as here. :func:`wengert.save`
    writes that into the file, and :func:`wengert.load` reads it back."""


class Module:
    """The base of all layers and models: assign tensors and modules to attributes and write ``forward``.

    >>> import wengert as wg
    >>> class Scale(wg.nn.Module):
    ...     def __init__(self):
    ...         self.factor = wg.tensor(2.0, requires_grad=True)
    ...
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> model = Scale()
    >>> model(3.0).item(), model.parameters()
    (6.0, [Tensor(2., requires_grad=True, name='factor')])
    """

    training = _Training()
    matrices: tuple[str, ...] = ()  # own weights of shape (in, out), which PyTorch keeps as (out, in)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes; every subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with calling(self):
                return self.forward(*args, **kwargs)
        except Exception as error:
            _say_where(error, self)
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        for path, item in _walk(value, name, {id(self)}):  # messages and reprs call a tensor by its path
            if isinstance(item, Tensor):
                item.name = path

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module, whose path is "", and of all modules below it."""
        return ((path, item) for path, item in _walk(self, "", set()) if isinstance(item, Module))

    def children(self) -> list[Module]:
        """The modules directly below this one."""
        return [m for path, m in self.named_modules() if path and not self._within_child(path)]

    def _within_child(self, path: str) -> bool:
        return any(path.startswith(other + ".") for other, _ in self.named_modules() if other)

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers; a tensor in two places counts once, under its first path."""
        return ((path, item) for path, item in _walk(self, "", set()) if isinstance(item, Tensor))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(path, parameter) in the order in which the attributes were first assigned."""
        return ((path, t) for path, t in self._named_tensors() if t.requires_grad)

    def parameters(self) -> list[Tensor]:
        """All tensors below this module that require gradients, each once."""
        return [p for _, p in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(path, tensor) of all tensors that belong to the state but are not trained."""
        return ((path, t) for path, t in self._named_tensors() if not t.requires_grad)

    def train(self, mode: bool = True) -> Module:
        """Switches dropout and batch statistics on (or off) in all modules below; returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switches to evaluation: no dropout, running statistics. The same as ``train(False)``."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters."""
        for p in self.parameters():
            p.grad = None

    def state_dict(self) -> StateDict:
        """A copy of all parameters and buffers by path, as NumPy arrays. Training on does not change it.

        >>> import wengert as wg
        >>> {name: a.shape for name, a in wg.nn.Linear(3, 2).state_dict().items()}
        {'weight': (3, 2), 'bias': (2,)}
        """
        return StateDict({path: np.array(t.detach().numpy()) for path, t in self._named_tensors()})

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True, layout: str | None = None) -> None:
        """Puts the values of a ``state_dict`` back; dtypes are converted.

        ``layout`` says how the weights of :class:`Linear` layers lie in the state: "wengert", (in, out), or "torch",
        (out, in), which are transposed. It may be left out for what ``state_dict`` or :func:`wengert.load` of a saved
        one returned, and where a weight that is not square shows it.
        Raises ValueError, with nothing changed, if a shape differs, if (unless ``strict`` is off) names are missing or
        unknown, or if the layout cannot be told.

        >>> import numpy as np, wengert as wg
        >>> model = wg.nn.Linear(2, 2, bias=False)
        >>> model.load_state_dict({"weight": np.array([[1.0, 2.0], [3.0, 4.0]])}, layout="torch")
        >>> model([1.0, 0.0]).tolist()
        [1.0, 3.0]
        """
        own = dict(self._named_tensors())
        missing, unknown = own.keys() - state.keys(), state.keys() - own.keys()
        if strict and (missing or unknown):
            told = [f"{what} {', '.join(sorted(names))}" for what, names in (("missing", missing), ("unknown", unknown))
                    if names]  # fmt: skip
            raise ValueError(f"load_state_dict: {type(self).__name__} and the state differ: {'; '.join(told)}")
        new = {path: asarray(state[path]).detach().astype(t.dtype) for path, t in own.items() if path in state}
        matrices = {
            f"{path}.{name}".lstrip(".") for path, m in self.named_modules() for name in m.matrices
        } & new.keys()
        if _layout(state, {path: (own[path].shape, new[path].shape) for path in matrices}, layout) == "torch":
            new.update({path: new[path].T for path in matrices})
        for path, value in new.items():
            if value.shape != own[path].shape:
                turned = path in matrices and layout is None and value.shape == own[path].shape[::-1]
                raise ValueError(
                    f"load_state_dict: {path} has shape {own[path].shape} in {type(self).__name__}, "
                    f"{value.shape} in the state" + ("; if it comes from PyTorch, say layout='torch'" if turned else "")
                )
        for path, value in new.items():
            own[path].assign(value)

    def __repr__(self) -> str:
        inside = self.extra_repr()
        for path, part in self.parts():
            shown = repr(part) if isinstance(part, Module) else getattr(part, "__name__", repr(part))
            inside += f"\n  {path}: " + shown.replace("\n", "\n  ")
        return f"{type(self).__name__}({inside}\n)" if "\n" in inside else f"{type(self).__name__}({inside})"

    def parts(self) -> list[tuple[str, Any]]:
        """What ``repr`` shows below the module, by path: the modules directly below."""
        return [(path, m) for path, m in self.named_modules() if path and not self._within_child(path)]

    def extra_repr(self) -> str:
        """What ``repr`` shows between the brackets, before the children."""
        return ""


def _layout(state: Mapping[str, Any], shapes: dict[str, tuple[Any, Any]], layout: str | None) -> str:
    """How matrices lie in a state, given the shapes that they have and come with; ValueError where nothing tells."""
    if layout not in (None, "wengert", "torch"):
        raise ValueError(f"load_state_dict: layout must be 'wengert' or 'torch', got {layout!r}")
    if layout is not None:
        return layout
    foreign = any(type(value).__module__.partition(".")[0] == "torch" for value in state.values())
    square = [path for path, (own, given) in shapes.items() if own == given == own[::-1]]
    told = (isinstance(state, StateDict) and not foreign) or len(square) < len(shapes)
    if square and not told:
        raise ValueError(
            f"load_state_dict: {square[0]} is square, so its shape does not tell whether it is (in, out), as here, or "
            "(out, in), as in PyTorch: say layout='wengert' or layout='torch'"
        )
    return "wengert"


def _walk(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Tensor | Module]]:
    """(path, item) for the leaf tensors and the modules in a value, each once, a module before what is in it."""
    if isinstance(value, (Tensor, Module)):
        if id(value) in seen or (isinstance(value, Tensor) and not value.is_leaf):
            return
        seen.add(id(value))
        yield path, value
    if isinstance(value, (Module, dict, list, tuple)):
        inside = vars(value) if isinstance(value, Module) else value
        for name, item in inside.items() if isinstance(inside, dict) else enumerate(inside):
            yield from _walk(item, f"{path}.{name}" if path else str(name), seen)


def _say_where(error: Exception, module: Module) -> None:
    """Adds to the message where in ``module`` it happened: ``[in MLP.layers.1]``. The type stays.

    Every module on the way out says it again, with a longer path.
    """
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    message, innermost = getattr(error, "_raised_in", (error.args[0], module))
    path = next((path for path, m in module.named_modules() if m is innermost), None)
    if path is not None:
        error._raised_in = (message, innermost)  # type: ignore[attr-defined]
        error.args = (f"{message}  [in {type(module).__name__}{'.' if path else ''}{path}]",)
