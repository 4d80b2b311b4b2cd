"""Refusals in words: which function, which argument, what came, what would do.

Called by the extension module when it has refused an argument, and by nothing else. The function and the argument are
those of the caller's program: the outermost function of this package on the stack, and its parameter that holds the
object refused.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

Fault = tuple[Any, str]  # the object that does not fit, and what is said of it


def reworded(message: str, args: list[Any]) -> str | None:
    """Instead of pybind11's list of signatures; None for a message of another kind."""
    found = re.match(r"(\w+)\(\): incompatible function arguments.*?\n +1\. \((.*)\) -> ", message)
    if not found:
        return None
    function, signature = found.groups()
    for (parameter, kind), value in zip(_parameters(signature), args, strict=False):
        fault = _fault(kind, value)
        if fault:
            return named(fault[1], fault[0], whole=value, function=function, parameter=parameter)
    return f"{function}: does not take arguments of types {', '.join(type(value).__name__ for value in args)}"


def named(why: str, value: Any, *, whole: Any = None, function: str = "", parameter: str = "") -> str:
    """``why`` as a sentence about the argument that is ``value``, or the list ``whole`` that the value came in."""
    frame = _public_frame()
    if frame is not None:
        function = frame.f_code.co_name
        parameter = _parameter_of(frame, value, whole) or parameter
    if not parameter or parameter.startswith("arg"):  # pybind11's own name for one without
        parameter = "an argument"
    return f"{function}: {parameter} {why}" if function else f"{parameter} {why}"


def _public_frame() -> FrameType | None:
    """The outermost of the functions of this package, from the innermost of its caller's inwards."""
    frame: FrameType | None = sys._getframe(1)
    public = None
    while frame is not None and re.match(r"wengert\b(?!\.cli)", frame.f_globals.get("__name__", "")):
        name = frame.f_code.co_name
        if not name.startswith(("_", "<")) and frame.f_globals["__name__"] != __name__:
            public = frame
        frame = frame.f_back
    return public


def _parameter_of(frame: FrameType, value: Any, whole: Any) -> str:
    code, local = frame.f_code, frame.f_locals
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    same = [name for name in names if local.get(name) is value or (whole is not None and local.get(name) is whole)]
    if not same and isinstance(whole, list):  # which may be a copy
        same = [name for name in names if isinstance(local.get(name), (list, tuple)) and [*local[name]] == whole]
    return same[0] if same else ""


def _parameters(signature: str) -> Iterator[tuple[str, str]]:
    """(name, type) of each parameter of a signature such as ``x: Tensor, axes: Sequence[int] | None = None``."""
    for part in re.split(r", (?=\w+: )", signature):
        name, _, kind = part.partition(": ")
        yield name, kind.partition(" = ")[0]


def _fault(kind: str, value: Any) -> Fault | None:
    """What keeps ``value`` from being of this type, in pybind11's notation."""
    if kind.endswith(" | None") and value is None:
        return None
    inner = re.fullmatch(r"(?:[\w.]+\.)?Sequence\[(.*)\](?: \| None)?", kind)
    if inner:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return value, f"must be a list, got {_shown(value)}"
        faults = (fault for item in value if (fault := _fault(inner[1], item)))
        return next(((item, f"has an entry that {why}") for item, why in faults), None)
    if "SupportsInt" in kind:
        return _of_kind(operator.index, "a whole number", value)
    if "SupportsFloat" in kind:
        return _of_kind(float, "a number", value)
    expected = {"bool": bool, "str": str, "tuple": tuple, "type": type}.get(kind)
    if expected is not None and not isinstance(value, expected):
        return value, f"must be a {expected.__name__}, got {_shown(value)}"
    if kind.startswith("Tensor") and value is None:
        return value, "must be a tensor, an array or a number, got None"
    return None


def _of_kind(convert: Any, expected: str, value: Any) -> Fault | None:
    why = ""
    if not isinstance(value, str):  # float("1") is a number, but "1" is none
        try:
            convert(value)
            return None
        except Exception as error:
            why = f" ({error})" if hasattr(value, "requires_grad") else ""  # a tensor says what is wrong with it
    return value, f"must be {expected}, got {_shown(value)}{why}"


def _shown(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"a {type(value).__name__} of dtype {getattr(value, 'dtype', '?')} and shape {shape}"
    text = repr(value)
    return f"the {type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
