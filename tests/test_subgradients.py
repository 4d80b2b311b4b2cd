"""Values and gradients where mathematics leaves a choice: one table, each row an executable test and a row of the docs.

An example is Python code, evaluated with the names of wengert, and what it must give: a number, nested lists, a
``near`` value, or an exception. ``python tests/test_subgradients.py`` writes docs/subgradients.md from the table.
"""

# ruff: noqa: E501
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import wengert as wg

PAGE = Path(__file__).parent.parent / "docs" / "subgradients.md"
inf, nan = np.inf, np.nan


class Near(float):
    """A value to be met to a relative tolerance."""

    def __new__(cls, value, tolerance):
        self = super().__new__(cls, value)
        self.tolerance = tolerance
        return self


class Raises:
    def __init__(self, error, words):
        self.error, self.words = error, words


WHERE = "f = lambda x: where(x > 0, {}, 0.0); [f(tensor(0.0)), grad(f)(0.0), grad(grad(f))(0.0), hvp(f, 0.0, 1.0)]"
SINGULAR = np.linalg.LinAlgError

# case, PyTorch 2.13, JAX 0.10, autograd / MyGrad, our rule, examples: (code, what it gives)
TABLE = [
    ("relu'(0), relu'(−0)", "0", "0", "0.5 / 0", "0", [("grad(relu)(0.0)", 0), ("grad(relu)(-0.0)", 0)]),
    ("relu at NaN", "NaN, grad 1", "NaN, 0", "NaN, 0", "value NaN, gradient NaN", [("value_and_grad(relu)(nan)", (nan, nan))]),
    ("maximum / minimum tie", "½, ½", "½, ½", "½, ½ / 0, 0", "½, ½ (sums to 1)", [
        ("grad(maximum, (0, 1))(2.0, 2.0)", (0.5, 0.5)), ("grad(minimum, (0, 1))(2.0, 2.0)", (0.5, 0.5))]),
    ("maximum with one NaN", "1, 1", "0, 0", "0, 0", "value NaN; gradient 1 to the NaN operand, 0 to the other", [
        ("value_and_grad(maximum, (0, 1))(nan, 2.0)", (nan, (1, 0))), ("grad(minimum, (0, 1))(2.0, nan)", (0, 1))]),
    ("clip at a bound", "1", "½", "0 / –", "1", [("grad(lambda x: clip(x, -1, 1))(1.0)", 1), ("grad(lambda x: clip(x, -1, 1))(-1.0)", 1)]),
    ("clip with crossed bounds", "–", "–", "–", "the upper bound, and the gradient is its own", [
        ("value_and_grad(clip, (0, 1, 2))(0.5, 1.0, 0.0)", (0, (0, 0, 1))), ("value_and_grad(clip, (0, 1, 2))(2.0, 1.0, 0.0)", (0, (0, 0, 1)))]),
    ("clip with one NaN", "–", "–", "–", "value NaN; gradient 1 to the NaN operand, 0 to the others", [
        ("value_and_grad(clip, (0, 1, 2))(nan, -1.0, 1.0)", (nan, (1, 0, 0))), ("value_and_grad(clip, (0, 1, 2))(-2.0, nan, 1.0)", (nan, (0, 1, 0))),
        ("value_and_grad(clip, (0, 1, 2))(2.0, -1.0, nan)", (nan, (0, 0, 1)))]),
    ("a // b, a % b where a / b is rounded to a whole number", "–", "–", "–", "NumPy's; d/db of a % b is −(a // b)", [
        ("value_and_grad(floor_divide, (0, 1))(1.0, 0.1)", (9, (0, 0))), ("value_and_grad(remainder, (0, 1))(1.0, 0.1)", (Near(0.09999999999999995, 1e-15), (1, -9))),
        ("floor_divide(-1.0, inf)", -1), ("floor_divide(1.0, 0.0)", inf)]),
    ("max reduction, tie", "split (axis form: first)", "split", "split / first", "split evenly, with or without axis", [
        ("grad(max)(tensor([3.0, 1.0, 3.0]))", [0.5, 0, 0.5]),
        ("grad(lambda x: max(x, axis=1).sum())(tensor([[2.0, 2.0], [1.0, 3.0]]))", [[0.5, 0.5], [0, 1]])]),
    ("max reduction with NaN", "NaN element gets 1", "all NaN", "all NaN", "NaN element gets 1", [
        ("value_and_grad(max)(tensor([nan, 1.0]))", (nan, [1, 0]))]),
    ("abs'(0)", "0", "1", "0", "0", [("grad(abs)(0.0)", 0), ("grad(abs)(-0.0)", 0)]),
    ("L2 norm at 0", "0", "NaN", "NaN", "0", [("grad(linalg.vector_norm)(tensor([0.0, 0.0]))", [0, 0])]),
    ("L1 norm at 0; L∞ tie", "0; split", "1; split", "–", "0; split", [
        ("grad(lambda x: linalg.vector_norm(x, ord=1))(tensor([0.0, 2.0]))", [0, 1]),
        ("grad(lambda x: linalg.vector_norm(x, ord=inf))(tensor([-2.0, 2.0, 1.0]))", [-0.5, 0.5, 0])]),
    ("std of a constant", "0", "NaN", "NaN / 0", "0", [("grad(std)(tensor([3.0, 3.0]))", [0, 0])]),
    ("sqrt'(0), log'(0), (1/x)'(0)", "inf, inf, −inf", "same", "same", "same", [
        ("grad(sqrt)(0.0)", inf), ("grad(log)(0.0)", inf), ("grad(reciprocal)(0.0)", -inf), ("grad(lambda x: 1 / x)(0.0)", -inf)]),
    ("pow(0, 0): d/dx, d/dy", "0, 0", "NaN, 0", "0, 0", "0, 0", [("grad(pow, (0, 1))(0.0, 0.0)", (0, 0))]),
    ("pow(0, 1), (0, 2), (0, ½): d/dx", "1, 0, inf; d/dy 0", "same", "same", "same", [
        ("grad(pow, (0, 1))(0.0, 1.0)", (1, 0)), ("grad(pow, (0, 1))(0.0, 2.0)", (0, 0)), ("grad(pow, (0, 1))(0.0, 0.5)", (inf, 0))]),
    ("pow(−2, 3.0): d/dy", "NaN", "NaN", "NaN", "NaN; a constant exponent takes no log", [
        ("grad(pow, 1)(-2.0, 3.0)", nan), ("grad(lambda x: x**3.0)(-2.0)", 12), ("grad(grad(lambda x: x**3.0))(-2.0)", -12)]),
    ("prod with one or two zeros", "exact", "exact", "NaN / exact", "exact", [
        ("grad(prod)(tensor([2.0, 0.0, 3.0]))", [0, 6, 0]), ("grad(prod)(tensor([0.0, 0.0, 3.0]))", [0, 0, 0]),
        ("hessian(prod)(tensor([0.0, 0.0, 3.0]))", [[0, 3, 0], [3, 0, 0], [0, 0, 0]])]),
    ("cumprod with a zero", "exact", "exact", "– / exact", "exact", [
        ("jacobian(cumulative_prod)(tensor([2.0, 0.0, 3.0]))", [[1, 0, 0], [0, 2, 0], [0, 6, 0]])]),
    ("where(x > 0, sqrt(x), 0) at 0", "NaN", "NaN", "NaN",
     "0, at every order: an operand that was not selected gets no gradient, whatever its local derivative", [
        (WHERE.format("sqrt(x)"), [0, 0, 0, 0]), (WHERE.format("x * sqrt(x)"), [0, 0, 0, 0]),
        (WHERE.format("log(x) * x"), [0, 0, 0, 0]), (WHERE.format("square(sqrt(x))"), [0, 0, 0, 0]),
        (WHERE.format("1 / x"), [0, 0, 0, 0]), (WHERE.format("pow(x, 0.5)"), [0, 0, 0, 0]),
        (WHERE.format("exp(-1 / x)"), [0, 0, 0, 0]),
        ("grad(grad(lambda x: sin(x) ** 2))(0.0)", 2), ("grad(grad(grad(lambda x: x * x * x)))(0.0)", 6),
        ("grad(grad(lambda x: (x**3) * sin(x)))(0.0)", 0)]),
    ("x/x at 0", "NaN", "NaN", "NaN", "NaN", [("value_and_grad(lambda x: x / x)(0.0)", (nan, nan))]),
    ("logsumexp(1000, 1000)", "½ + 2.8e-14", "½", "–", "½ exactly", [("grad(logsumexp)(tensor([1000.0, 1000.0]))", [0.5, 0.5])]),
    ("logsumexp, all −inf", "−inf, NaN", "NaN", "NaN", "−inf, gradient 0", [
        ("value_and_grad(logsumexp)(tensor([-inf, -inf]))", (-inf, [0, 0]))]),
    ("softmax with +inf, or all −inf", "NaN", "NaN", "–", "NaN", [
        ("softmax([inf, 1.0])[0]", nan), ("softmax([-inf, -inf])", [nan, nan])]),
    ("log_softmax with −inf unselected", "finite, 0", "finite, 0", "–", "finite, 0", [
        ("value_and_grad(lambda x: log_softmax(x)[1])(tensor([-inf, 0.0, 0.0]))", (Near(-np.log(2), 1e-15), [0, 0.5, -0.5]))]),
    ("cross-entropy, −inf on an unselected / the selected class", "0 / inf, finite gradients", "–", "–", "the same", [
        ("value_and_grad(lambda x: nn.cross_entropy(x, [1]))(tensor([[-inf, 0.0]]))", (0, [[0, 0]])),
        ("value_and_grad(lambda x: nn.cross_entropy(x, [0]))(tensor([[-inf, 0.0]]))", (inf, [[-1, 1]]))]),
    ("binary cross-entropy, logit ∓inf, target 0 / 1", "NaN", "–", "–", "0, finite gradients", [
        ("value_and_grad(lambda x: nn.binary_cross_entropy_with_logits(x, [0.0, 1.0], 'none').sum())(tensor([-inf, inf]))", (0, [0, 0]))]),
    ("cross-entropy of an empty batch", "NaN", "–", "–", "ValueError", [
        ("nn.cross_entropy(zeros((0, 3)), np.zeros(0, int))", Raises(ValueError, "empty"))]),
    ("softplus, sigmoid, tanh at ±800", "exact limits", "exact", "exact", "exact limits, gradients included", [
        ("value_and_grad(softplus)(800.0)", (800, 1)), ("value_and_grad(softplus)(-800.0)", (0, 0)),
        ("value_and_grad(sigmoid)(800.0)", (1, 0)), ("value_and_grad(sigmoid)(-800.0)", (0, 0)),
        ("value_and_grad(tanh)(800.0)", (1, 0)), ("value_and_grad(tanh)(-800.0)", (-1, 0)),
        ("grad(grad(sigmoid))(-800.0)", 0)]),
    ("gelu, silu at ±inf", "gradient NaN", "NaN", "–", "1 at +inf, 0 at −inf; value −0 at −inf", [
        ("value_and_grad(gelu)(inf)", (inf, 1)), ("value_and_grad(gelu)(-inf)", (-0.0, 0)),
        ("value_and_grad(silu)(inf)", (inf, 1)), ("value_and_grad(silu)(-inf)", (-0.0, 0)), ("np.signbit(gelu(-inf).numpy())", True)]),
    ("gelu tail x = −5, −8 (float32)", "17 % off, 0", "right", "–", "right to 4 ulp (erfc form)", [
        ("gelu(tensor(-5.0, 'float32'))", Near(-1.4332578594e-06, 4 * 2**-24)),
        ("gelu(tensor(-8.0, 'float32'))", Near(-4.9767684594e-15, 4 * 2**-24))]),
    ("atan2(0, 0)", "0, −0", "NaN", "NaN", "0, 0", [("grad(atan2, (0, 1))(0.0, 0.0)", (0, 0))]),
    ("hypot(0, 0)", "NaN", "½, ½", "–", "0, 0", [("grad(hypot, (0, 1))(0.0, 0.0)", (0, 0))]),
    ("sinc'(0)", "0", "0", "NaN / 0", "0", [("grad(sinc)(0.0)", 0), ("grad(grad(sinc))(0.0)", Near(-np.pi**2 / 3, 1e-12))]),
    ("logaddexp(inf, inf), logaddexp(−inf, −inf)", "–", "–", "–", "½, ½ and 0, 0, as logsumexp", [
        ("grad(logaddexp, (0, 1))(inf, inf)", (0.5, 0.5)), ("grad(logaddexp, (0, 1))(-inf, -inf)", (0, 0)),
        ("grad(logaddexp, (0, 1))(inf, 1.0)", (1, 0))]),
    ("digamma', digamma'' at a pole (0, −1, −2, ...)", "–", "–", "–", "inf; NaN, for its sides differ in sign", [
        ("grad(digamma)(-2.0)", inf), ("grad(grad(digamma))(-2.0)", nan)]),
    ("xlogy(0, 0)", "0, NaN", "−inf, NaN", "–", "0, 0", [("grad(xlogy, (0, 1))(0.0, 0.0)", (0, 0))]),
    ("asin'(1)", "inf", "inf", "inf / 0", "inf", [("grad(asin)(1.0)", inf)]),
    ("elu'(0), leaky_relu'(0), relu6'(0), relu6'(6), hardtanh'(±1)", "1, slope, 0, 0, 0", "1, 1, 0, 0, 1", "–",
     "1, slope, 0, 0, 0", [
        ("grad(elu)(0.0)", 1), ("grad(lambda x: leaky_relu(x, 0.1))(0.0)", 0.1), ("grad(relu6)(0.0)", 0), ("grad(relu6)(6.0)", 0),
        ("grad(hardtanh)(1.0)", 0), ("grad(hardtanh)(-1.0)", 0)]),
    ("det, rank n−1", "0 (wrong)", "cofactors", "error", "cofactors", [
        ("grad(linalg.det)(tensor([[1.0, 2.0], [2.0, 4.0]]))", [[Near(4, 1e-14), Near(-2, 1e-14)], [Near(-2, 1e-14), Near(1, 1e-14)]])]),
    ("slogdet of a singular matrix", "∓inf", "mixed", "error", "LinAlgError naming the matrix", [
        ("linalg.slogdet([[1.0, 2.0], [2.0, 4.0]])", Raises(SINGULAR, "slogdet: the matrix of shape"))]),
    ("inv, cholesky fail", "error", "NaN, silently", "error", "LinAlgError naming the matrix", [
        ("linalg.inv([np.eye(2), np.zeros((2, 2))])", Raises(SINGULAR, "inv: matrix 1 of the batch")),
        ("linalg.cholesky([[1.0, 2.0], [2.0, 1.0]])", Raises(SINGULAR, "cholesky: the matrix of shape"))]),
    ("cholesky of a non-symmetric input", "lower triangle", "symmetrises", "lower", "lower triangle read; gradient symmetric", [
        ("linalg.cholesky([[4.0, 99.0], [0.0, 9.0]])", [[2, 0], [0, 3]]),
        ("g = grad(lambda x: linalg.cholesky(x).sum())(tensor([[4.0, 99.0], [1.0, 9.0]])).numpy(); g[0, 1] - g[1, 0]", 0)]),
    ("eigh, svd vectors at repeated values", "NaN", "NaN", "NaN", "LinAlgError on the gradient, value fine", [
        ("linalg.eigh(np.eye(2))[0]", [1, 1]),
        ("grad(lambda x: linalg.eigh(x)[1].sum())(eye(2))", Raises(SINGULAR, "eigh")),
        ("grad(lambda x: linalg.svd(x)[0].sum())(eye(2))", Raises(SINGULAR, "svd"))]),
    ("factors of columns that depend, and of values that repeat, but for rounding", "–", "–", "–",
     "LinAlgError on the gradient, value fine, at any scale", [
        ("grad(lambda x: linalg.qr(x)[1].sum())(tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]))", Raises(SINGULAR, "qr")),
        ("x = np.outer([1.0, 2.0, 2.0], [1.0, 2.0, 2.0]) * 1e-25; grad(lambda x: linalg.eigh(x)[1].sum())(x)", Raises(SINGULAR, "eigh"))]),
    ("NaN in a matrix", "–", "–", "–", "LinAlgError from svd, eigh and their like; det is NaN", [
        ("linalg.svd([[nan, 1.0], [1.0, 1.0]])", Raises(SINGULAR, "svd")),
        ("linalg.eigvalsh([[nan, 1.0], [1.0, 1.0]])", Raises(SINGULAR, "eigvalsh")),
        ("linalg.det([[nan, 1.0], [1.0, 1.0]])", nan)]),
    ("repeated index in gather", "adds", "adds", "adds", "adds, in index order", [
        ("grad(lambda x: x[np.array([1, 1, 0])].sum())(tensor([1.0, 2.0]))", [1, 2])]),
    ("index out of range", "IndexError", "clamped, silently", "IndexError", "IndexError with axis and size", [
        ("ones((2, 3))[:, 3]", Raises(IndexError, "index 3 is out of range for axis 1 of size 3")),
        ("ones((2, 3))[[0, 2]]", Raises(IndexError, "index 2 is out of range for axis 0 of size 2"))]),
    ("empty: sum, mean, max, K=0 matmul", "0, NaN, error, 0", "same", "same", "0, NaN with a warning, ValueError, 0", [
        ("sum(zeros(0))", 0), ("mean(zeros(0))", Raises(RuntimeWarning, "mean of an empty slice")),
        ("max(zeros(0))", Raises(ValueError, "max: axis of size 0")), ("zeros((2, 0)) @ zeros((0, 1))", [[0], [0]])]),
    ("loss of (4, 1) against (4,)", "warns, broadcasts", "broadcasts", "broadcasts", "ValueError", [
        ("nn.mse_loss(ones((4, 1)), ones(4))", Raises(ValueError, r"mse_loss.*\(4, 1\).*\(4,\)"))]),
    ("NumPy buffer changed between forward and backward", "wrong gradient, silently", "copied", "copied / locked",
     "RuntimeError naming the op", [
        ("a = np.ones(2); x = tensor([1.0, 2.0], requires_grad=True); y = (asarray(a) * x).sum(); a[0] = 5; y.backward()",
         Raises(RuntimeError, "multiply: the NumPy buffer"))]),
    ("second backward", "error", "n/a", "n/a / silent", "RuntimeError naming the op", [
        ("x = tensor(1.0, requires_grad=True); y = exp(x); y.backward(); y.backward()", Raises(RuntimeError, "behind exp was released"))]),
    ("exception inside a user's rule", "propagates", "propagates", "propagates",
     "propagates with a note naming the op; the tape stays usable", [
        ("p = primitive(lambda x: 2 * x); p.defvjp(lambda g, y, x: {}[0]); grad(p)(1.0)", Raises(KeyError, "in the reverse rule of the primitive"))]),
    ("integer input to grad", "error", "error", "error", "Python ints become floats; integer arrays: TypeError", [
        ("grad(square)(3)", 6), ("grad(square)(np.array(3))", Raises(TypeError, "dtype int64; use floats"))]),
    ("float64 input", "kept", "float32, silently", "kept", "kept", [("sin(np.ones(1)).dtype == np.float64", True)]),
    ("negative, zero or odd strides in", "mostly", "copied", "views", "all accepted", [
        ("asarray(np.arange(6.0)[::-2])", [5, 3, 1]), ("asarray(np.broadcast_to(7.0, (2,)))", [7, 7]),
        ("tensor(np.arange(4.0).reshape(2, 2).T)", [[0, 2], [1, 3]])]),
    ("more than 2³¹ elements, overflowing products", "int64", "int32 in places", "intp", "int64 everywhere, products checked", [
        ("zeros((2**40, 2**40))", Raises(ValueError, "too large")),
        ("broadcast_to(1.0, (2**33, 2**33))", Raises(ValueError, "too large"))]),
    ("float32 sum of 10⁵ rows along axis 0", "8e-9", "ok", "6.8e-6", "≤ 1e-7 relative (blocked)", [
        ("x = np.random.default_rng(0).random((100_000, 2), np.float32); exact = x.sum(axis=0, dtype=np.float64); "
         "bool((np.abs(sum(x, axis=0).numpy() / exact - 1) < 1e-7).all())", True)]),
    ("denormals", "slow", "slow", "slow", "exact; flush only inside a scope the user asks for, never at import", [
        ("tensor(5e-324) * 1.0", 5e-324), ("exp(-740.0)", Near(4.199558e-322, 0.02)), ("np.float64(5e-324) * 1.0", 5e-324)]),
    ("second order: an even power of a norm, hypot, std or abs at 0", "–", "–", "–",
     "right: the power has no kink (also times numbers, and y * y of one y)", [
        ("hessian(lambda x: linalg.norm(x) ** 2)(tensor([0.0, 0.0]))", [[2, 0], [0, 2]]),
        ("hessian(lambda x: (3 * linalg.norm(x)) ** 2)(tensor([0.0, 0.0]))", [[18, 0], [0, 18]]),
        ("hessian(lambda x: linalg.norm(x) ** 4)(tensor([0.0, 0.0]))", [[0, 0], [0, 0]]),
        ("hessian(lambda x: hypot(x[0], x[1]) ** 2)(tensor([0.0, 0.0]))", [[2, 0], [0, 2]]),
        ("hessian(lambda x: std(x) ** 2)(tensor([3.0] * 4))[0]", [0.375, -0.125, -0.125, -0.125]),
        ("grad(grad(lambda x: abs(x) ** 2))(0.0)", 2)]),
    ("second order: abs, relu, leaky_relu at 0 of what keeps its sign", "–", "–", "–",
     "right: the slope on that side, if the form of the program shows the sign (squares, even powers, exp, their sums, "
     "products, multiples)", [
        ("grad(grad(lambda x: abs(-x * x)))(0.0)", 2), ("grad(grad(lambda x: abs(3 * x**2)))(0.0)", 6),
        ("grad(grad(lambda x: abs(x * x + x**4)))(0.0)", 2), ("grad(grad(lambda x: relu(x * x)))(0.0)", 2),
        ("grad(grad(lambda x: relu(-x * x)))(0.0)", 0), ("grad(grad(lambda x: leaky_relu(x * x, 0.1)))(0.0)", 2)]),
    ("second order: other kinks", "–", "–", "–", "the slope chosen at first order is a constant: its derivative is 0", [
        ("grad(grad(abs))(0.0)", 0), ("grad(grad(relu))(0.0)", 0), ("hessian(linalg.norm)(tensor([0.0, 0.0]))", [[0, 0], [0, 0]]),
        ("grad(grad(lambda x: relu(x) ** 2))(0.0)", 0), ("grad(grad(lambda x: maximum(x * x, 0.0)))(0.0)", 1)]),
    ("round, floor, sign", "0", "0", "0", "0", [("grad(round)(1.3)", 0), ("grad(floor)(1.3)", 0), ("grad(sign)(1.3)", 0)]),
]  # fmt: skip

EXAMPLES = [(row[0], code, result) for row in TABLE for code, result in row[5]]


def evaluate(code):
    """The value of the last of some statements."""
    names = {"np": np, "inf": inf, "nan": nan, **{n: getattr(wg, n) for n in [*wg.__all__, "nn", "linalg"]}}
    *before, last = code.split("; ")
    exec("\n".join(before), names)
    return eval(last, names)


def agree(got, want):
    if isinstance(want, (tuple, list)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            agree(g, w)
    elif isinstance(want, Near):
        assert np.asarray(got).shape == ()
        np.testing.assert_allclose(float(np.asarray(got)), float(want), rtol=want.tolerance)
    else:
        got = np.asarray(got)
        assert got.shape == np.shape(want)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("case", "code", "result"), EXAMPLES, ids=[f"{case}: {code}" for case, code, _ in EXAMPLES])
def test_row(case, code, result):
    if isinstance(result, Raises):
        with pytest.raises(result.error) as caught:
            evaluate(code)
        notes = " ".join(getattr(caught.value, "__notes__", []))
        assert re.search(result.words, f"{caught.value} {notes}")
        assert wg.grad(wg.square)(3.0).item() == 6.0  # nothing half done
    else:
        agree(evaluate(code), result)


@pytest.mark.parametrize(
    "inner", [wg.sqrt, wg.log, wg.reciprocal, lambda x: x * wg.log(x), lambda x: wg.pow(x, 0.5) * x]
)
def test_an_operand_not_selected_gets_nothing_at_any_order_in_any_mixture_of_modes(inner):
    forward = lambda f: lambda x: wg.jvp(f, (x,), (1.0,))[1]  # noqa: E731
    for order in (1, 2, 3):
        for modes in itertools.product((wg.grad, forward), repeat=order):
            f = lambda x: wg.where(x > 0, inner(x), 0.0)  # noqa: E731
            for mode in modes:
                f = mode(f)
            assert f(0.0).item() == 0.0
    x = np.array([0.0, 4.0])
    gradient = wg.grad(lambda x: wg.sum(wg.where(x > 0, inner(x), 0.0)))
    assert np.isfinite(wg.hessian(lambda x: wg.sum(wg.where(x > 0, inner(x), 0.0)))(x).numpy()).all()
    assert gradient(x).numpy()[1] == wg.grad(inner)(4.0).item()


SMOOTH = {
    "square of a norm": (lambda x: wg.linalg.norm(wg.stack([x, 2 * x])) ** 2, 10),
    "product of a norm with itself": (lambda x: (lambda r: r * r)(wg.linalg.norm(wg.stack([x]))), 2),
    "multiple of a norm": (lambda x: wg.square(wg.linalg.norm(wg.stack([x, x])) / 2), 1),
    "square of hypot": (lambda x: wg.hypot(x, 3 * x) ** 2, 20),
    "fourth power": (lambda x: wg.abs(x) ** 4.0 + x * x, 2),
    "abs of a negative square": (lambda x: wg.abs(-x * x), 2),
    "abs of a sum": (lambda x: wg.abs(x**2 + wg.square(x) * 2), 6),
    "relu of a square": (lambda x: wg.relu(x * x), 2),
    "relu of a negative square": (lambda x: wg.relu(-(x**2)), 0),
    "leaky relu of a square": (lambda x: wg.leaky_relu(x * x, 0.1), 2),
    "kept kink": (lambda x: wg.abs(x) + wg.relu(x), 0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SMOOTH)
def test_second_order_at_kinks_is_the_same_in_every_mode_and_surrounding(name, dtype):
    f, want = SMOOTH[name]
    zero, one = wg.tensor(0.0, dtype), wg.tensor(1.0, dtype)
    forward = lambda f: lambda x: wg.jvp(f, (x,), (one,))[1]  # noqa: E731
    for modes in itertools.product((wg.grad, forward), repeat=2):
        second = f
        for mode in modes:
            second = mode(second)
        assert second(zero).item() == pytest.approx(want, rel=1e-6)
        compiled = wg.compile(second)
        assert [compiled(zero).item() for _ in range(2)] == [second(zero).item()] * 2
        with wg.Tape():
            assert second(zero).item() == pytest.approx(want, rel=1e-6)
    assert wg.hessian(f)(zero).item() == pytest.approx(want, rel=1e-6)
    assert wg.grad(f)(zero).item() == 0


def shown(result):
    """A result as the page prints it."""
    if isinstance(result, Raises):
        return result.error.__name__
    if isinstance(result, (tuple, list)):
        return "[" + ", ".join(shown(r) for r in result) + "]"
    return f"{result:.9g}" if isinstance(result, float) else str(result)


def page():
    """docs/subgradients.md."""
    cell = lambda text: text.replace("|", "\\|")  # noqa: E731
    lines = [
        "# Values and gradients where mathematics leaves a choice",
        "",
        "At a kink, a pole, an overflow, an empty array or a NaN, libraries choose, and not alike. These are our choices, "
        "beside those of PyTorch 2.13, JAX 0.10 and autograd / MyGrad. The cotangent is 1 and the dtype float64 unless "
        "said. Every row is tested by the examples below it: this page is written by `python tests/test_subgradients.py`.",
        "",
        "| case | PyTorch | JAX | autograd / MyGrad | Wengert |",
        "|---|---|---|---|---|",
        *("| " + " | ".join(cell(c) for c in row[:4]) + f" | **{cell(row[4])}** |" for row in TABLE),
        "",
        "## The examples",
        "",
        "With `from wengert import *`, `inf` and `nan`:",
        "",
    ]
    for row in TABLE:
        lines += [f"**{row[0]}**", "", "```python"]
        lines += [f"{code}  # {shown(result)}".replace("; ", "\n") for code, result in row[5]]
        lines += ["```", ""]
    return "\n".join(lines[:-1]) + "\n"


def test_the_page_is_the_table():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/test_subgradients.py"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
