"""How operations, their derivatives and numbers are written for people: ``√c``, ``x @ W``, ``−sin c``, ``−0.97``.

Elementwise derivatives are the text of the op table (cpp/ops/elementwise.def) with the variables' own names put in;
only what a lecturer would write more simply, and the structural operations, are spelled out here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wengert import _core

elementwise = {op["name"]: op for op in _core.op_table}
_superscript = str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")

_infix = {
    "add": "+", "subtract": "−", "divide": "/", "remainder": "mod", "matmul": "@",
    "less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥", "equal": "=", "not_equal": "≠",
    "logical_and": "and", "logical_or": "or",
}  # fmt: skip
_patterns = {
    "multiply": "{}·{}", "negative": "−{}", "square": "{}²", "reciprocal": "1 / {}", "sqrt": "√{}", "cbrt": "∛{}",
    "abs": "|{}|", "sin": "sin {}", "cos": "cos {}", "tan": "tan {}", "floor": "⌊{}⌋", "ceil": "⌈{}⌉",
    "identity": "{}",
}  # fmt: skip
# Partial derivatives in fewer signs than the table needs.
_partials = {("sqrt", 0): "1/(2√x)", ("square", 0): "2x"}
# What a structural operation passes on to its operand x, given the cotangent g of its result y.
_pullbacks = {
    "identity": "g", "cast": "g", "reshape": "g, reshaped", "permute": "g, axes back in place",
    "broadcast_to": "g, summed over the copies", "sum": "g, copied along the summed axes",
    "max": "g where the maximum is attained", "min": "g where the minimum is attained",
    "softmax": "y·(g − sum(g·y))", "log_softmax": "g − exp(y)·sum(g)", "logsumexp": "g·softmax(x)",
    "layer_norm": "(g − mean(g) − y·mean(g·y)) / √(variance + ε)",
    "slice": "g in its place, else 0", "unslice": "the slice of g", "add_slice": "the slice of g",
    "embed_diagonal": "the diagonal of g", "take_diagonal": "g on the diagonal, else 0",
    "concat": "its part of g",
    "gather": "g, added up where it was read", "scatter_add": "g, read where it was added",
    "add_gathered": "g, read where it was added",
    "softmax_cross_entropy": "g·(softmax(x) − onehot(labels))",
}  # fmt: skip


@dataclass(frozen=True)
class Operand:
    """An operand as a formula shows it: a name, or a plain number."""

    text: str
    shape: tuple[int, ...]
    is_number: bool = False

    def after_sign(self) -> str:
        return f"({self.text})" if self.is_number and self.text.startswith("−") else self.text


@dataclass(frozen=True)
class Operation:
    """An operation of the tape with its parameters, as the engine keeps them."""

    name: str
    operands: tuple[Operand, ...]
    result: Operand
    shown: tuple[int, ...]  # the result's shape in the program: without the axes that an integer index drops
    word: int
    attrs: Sequence[int]
    attrs2: Sequence[int]


def number(x: float, digits: int = 4) -> str:
    """A number with so many significant digits and a proper minus sign."""
    return f"{x:.{digits}g}".replace("-", "−").replace("e+", "e")


def factor(x: float, digits: int = 4) -> str:
    """A number as it stands in a product: negative ones in parentheses."""
    text = number(x, digits)
    return f"({text})" if text.startswith("−") else text


def norm(a: npt.NDArray[np.generic], digits: int = 4) -> str:
    """The Euclidean norm of all elements."""
    return "‖·‖ " + number(float(np.linalg.norm(np.asarray(a, dtype=np.float64).ravel())), digits)


def array(a: npt.NDArray[np.generic], digits: int = 4) -> str:
    """An array in a few characters: its elements if there are up to four, else its norm."""
    if a.ndim == 0:
        return str(bool(a)).lower() if a.dtype == np.bool_ else number(float(a), digits)
    if a.size > 4:
        return norm(a, digits)
    return _nested(a.tolist(), digits)


def _nested(value: object, digits: int) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_nested(v, digits) for v in value) + "]"
    return number(float(value), digits)  # type: ignore[arg-type]


def formula(op: Operation) -> str:
    """The right-hand side: ``a + b``, ``exp(a)``, ``x @ Wᵀ``, ``sum(v3, axis=1)``."""
    names = [x.text for x in op.operands]
    first = names[0] if names else ""
    if op.name == "matmul":
        names = [name + ("ᵀ" if op.word >> k & 1 else "") for k, name in enumerate(names)]
    elif op.name == "pow" and op.operands[1].is_number:
        return first + _power(names[1])
    elif op.name == "permute":
        ndim = len(op.result.shape)
        axes = tuple(ndim - 1 - a for a in reversed(op.attrs))
        return first + "ᵀ" if axes == (1, 0) else f"permute({first}, {axes})"
    elif op.name in ("reshape", "broadcast_to"):
        return f"{op.name.removesuffix('_to')}({first}, {op.result.shape})"
    elif op.name == "slice":
        return f"{first}[{_slices(op)}]"
    elif op.name in ("sum", "max", "min", "logsumexp"):
        ndim = len(op.operands[0].shape)
        axes = tuple(i for i in range(ndim) if op.word >> (ndim - 1 - i) & 1)
        if len(axes) < ndim:
            return f"{op.name}({first}, axis={axes[0] if len(axes) == 1 else axes})"
    if op.name in _infix and len(op.operands) == 2:
        return f"{names[0]} {_infix[op.name]} {names[1] if op.name == 'matmul' else op.operands[1].after_sign()}"
    if op.name in _patterns:
        return _patterns[op.name].format(first, *(x.after_sign() for x in op.operands[1:]))
    return f"{op.name.lstrip('_')}({', '.join(names)})"


def _power(exponent: str) -> str:
    return exponent.translate(_superscript) if re.fullmatch(r"−?\d+", exponent) else f"^{exponent}"


def _slices(op: Operation) -> str:
    whole, part = op.operands[0].shape, op.result.shape
    missing = len(whole) - len(op.attrs)
    start, step = ([0] * missing + list(op.attrs)[::-1], [1] * missing + list(op.attrs2)[::-1])
    texts = []
    at = 0  # in the shape shown
    for size, n, i, by in zip(whole, part, start, step, strict=True):
        if n == 1 and op.shown[at : at + 1] != (1,):
            texts.append(str(i))
            continue
        at += 1
        if n == 1:
            texts.append(f"{i}:{i + 1}")
        else:
            end = i + (n - 1) * by + (1 if by > 0 else -1)
            texts.append(
                ("" if i == (0 if by > 0 else size - 1) else str(i))
                + ":"
                + ("" if end >= size or end < 0 else str(end))
                + ("" if by == 1 else f":{by}")
            )
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    return ", ".join(texts)


def partial(op: Operation, k: int) -> str | None:
    """∂result/∂operand k of an elementwise operation as a formula, or None if there is none worth reading."""
    x = op.operands[k].text
    if op.name == "pow" and k == 0 and op.operands[1].is_number and "." not in op.operands[1].text:
        n = op.operands[1].after_sign()
        less = number(float(op.operands[1].text.replace("−", "-")) - 1)
        return f"{n}{x}" + ("" if less == "1" else _power(less))
    if (op.name, k) in _partials:
        return _partials[op.name, k].replace("x", x)
    text = elementwise[op.name]["pullbacks"][k] if op.name in elementwise else None
    if text is None or "where" in text:
        return None
    for begins, becomes in (("g * ", ""), ("g / ", "1 / "), ("-g * ", "-"), ("-g / ", "-1 / ")):
        if text.startswith(begins):
            text = becomes + text[len(begins) :]
            break
    return _with_names(re.sub(r"\bg\b", "1", text), op)


def pullback(op: Operation, k: int) -> str:
    """What operand k receives of the cotangent g of the result: ``g·b``, ``xᵀ @ g``."""
    y, x = op.result, op.operands[k]
    if op.name == "matmul":
        return _matmul_pullback(op, k)
    if op.name in elementwise:
        text = _with_names(elementwise[op.name]["pullbacks"][k], op)
        if x.shape != y.shape:
            text += ", summed to " + str(x.shape)
        return text
    if op.name == "permute" and len(y.shape) == 2:
        return "gᵀ"
    if op.name in ("add_slice", "add_gathered") and k == 0:
        return "g"
    if op.name in _pullbacks:
        names = {"x": x.text, "y": y.text, "labels": op.operands[-1].text}
        return re.sub(r"\b(x|y|labels)\b", lambda m: names[m[0]], _pullbacks[op.name])
    return f"the pullback of {op.name.lstrip('_')}"


def _matmul_pullback(op: Operation, k: int) -> str:
    flip = ["ᵀ" if op.word >> i & 1 else "" for i in (0, 1)]
    flipped = ["" if f else "ᵀ" for f in flip]
    a, b = (x.text for x in op.operands)
    if k == 0:
        return f"{b}{flip[1]} @ gᵀ" if flip[0] else f"g @ {b}{flipped[1]}"
    return f"gᵀ @ {a}{flip[0]}" if flip[1] else f"{a}{flipped[0]} @ g"


def _with_names(text: str, op: Operation) -> str:
    letters = "x" if len(op.operands) == 1 else "abc"
    names = {letter: x.text for letter, x in zip(letters, op.operands, strict=False)} | {"y": op.result.text}
    text = re.sub(r"\b(sin|cos|tan)\(([a-z])\)", r"\1 \2", text)
    text = re.sub(r"\bsqrt\(([a-z])\)", r"√\1", text)
    text = re.sub(r"(\d)\.0\b", r"\1", text).replace(" * ", "·").replace("-", "−").replace(" == ", " = ")
    text = re.sub(r"\d\.\d{5,}", lambda m: number(float(m[0])), text)
    return re.sub(r"\b[abcxy]\b", lambda m: names.get(m[0], m[0]), text)
