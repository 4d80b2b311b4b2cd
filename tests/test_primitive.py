"""@wg.primitive: rules of either mode, several results, static arguments, and what goes wrong in a user's code."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import NamedTuple

import numpy as np
import pytest

import wengert as wg

X, Y = np.array([0.3, -1.2, 2.0]), np.array([1.5, 0.4, -0.7])


def power_with(*modes, batched=False):
    """x^3 y from NumPy, with the rules of the modes named."""

    @wg.primitive
    def cubic(x, y):
        return x**3 * y

    if "rev" in modes:
        cubic.defvjp(lambda g, z, x, y: 3 * x * x * y * g, lambda g, z, x, y: x * x * x * g, batched=batched)
    if "fwd" in modes:
        cubic.defjvp(lambda t, z, x, y: 3 * x * x * y * t, lambda t, z, x, y: x * x * x * t, batched=batched)
    return cubic


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("modes", [("rev",), ("fwd",), ("rev", "fwd")])
def test_either_modes_rules_serve_both_to_any_order(modes, batched):
    f = power_with(*modes, batched=batched)
    wg.check_grads(f, (X, Y), order=3, rtol=1e-5, atol=1e-5)
    for mode in ("rev", "fwd"):
        j = wg.jacobian(f, argnums=(0, 1), mode=mode)(X, Y)
        np.testing.assert_allclose(j[0].numpy(), np.diag(3 * X**2 * Y), rtol=1e-14)
        np.testing.assert_allclose(j[1].numpy(), np.diag(X**3), rtol=1e-14)
    h = wg.hessian(lambda x: f(x, Y).sum())(X)
    np.testing.assert_allclose(h.numpy(), np.diag(6 * X * Y), rtol=1e-14)
    third = wg.grad(wg.grad(wg.grad(lambda x: f(x, np.array(1.0)))))
    assert third(2.0).item() == pytest.approx(6)


def test_backward_reaches_leaves_and_keeps_float32():
    f = power_with("rev")
    x = wg.tensor(X, dtype="float32", requires_grad=True)
    y = f(x, Y.astype(np.float32))
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(x.grad.numpy(), 3 * X**2 * Y, rtol=1e-6)


def test_the_function_sees_plain_arrays_that_it_cannot_change():
    seen = []

    @wg.primitive
    def look(x, n, *, flag):
        seen.append((type(x), x.flags.writeable, n, flag))
        return x * n

    look.defvjp(lambda g, y, x, n, flag: g * n)
    assert wg.grad(lambda x: look(x, 3, flag="a").sum())(X).tolist() == [3, 3, 3]
    assert seen == [(np.ndarray, False, 3, "a")]


def test_a_function_may_return_what_it_was_given():
    @wg.primitive
    def same(x):
        return x

    same.defvjp(lambda g, y, x: g)
    x = wg.tensor(X, requires_grad=True)
    y = same(x)
    x.assign(X + 1)
    assert np.array_equal(y.numpy(), X)


class Pair(NamedTuple):
    product: object
    total: object


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("mode", ["rev", "fwd"])
def test_several_results(mode, batched):
    @wg.primitive
    def both(x, y):
        return Pair(x * y, np.sum(x + y))

    if mode == "rev":
        both.defvjp(
            lambda g, out, x, y: g.product * y + g.total[..., None],
            lambda g, out, x, y: g.product * x + g.total[..., None],
            batched=batched,
        )
    else:
        both.defjvp(lambda t, out, x, y: (t * y, t.sum(-1)), lambda t, out, x, y: (x * t, t.sum(-1)), batched=batched)
    out = both(X, Y)
    assert isinstance(out, Pair)
    assert out.product.shape == (3,) and out.total.shape == ()
    wg.check_grads(both, (X, Y), order=2)
    wg.check_grads(lambda x, y: both(x, y).product * both(x, y)[1], (X, Y), order=3)
    for how in ("rev", "fwd"):
        j = wg.jacobian(both, argnums=(0, 1), mode=how)(X, Y)
        np.testing.assert_allclose(j.product[0].numpy(), np.diag(Y), rtol=1e-15)
        np.testing.assert_allclose(j.total[1].numpy(), np.ones(3), rtol=1e-15)


def test_no_dependence_is_none_and_whole_numbers_are_constants():
    pick = wg.primitive(lambda x, k: x[k])
    pick.defvjp(lambda g, y, x, k: wg.at_add(wg.zeros_like(x), k, g), None)
    assert wg.grad(lambda x: pick(x, np.array([0, 0])).sum())(X).tolist() == [2, 0, 0]
    assert wg.grad(lambda w: (pick(X, np.array([0])) * w).sum())(2.0).item() == X[0]
    order = wg.primitive(np.argsort)(wg.tensor(X, requires_grad=True))
    assert order.dtype == np.int64 and not order.requires_grad


def test_primitives_within_rules():
    sine, cosine = wg.primitive(np.sin), wg.primitive(np.cos)
    sine.defvjp(lambda g, y, x: g * cosine(x))
    cosine.defvjp(lambda g, y, x: -g * sine(x))
    wg.check_grads(sine, (X,), order=4, rtol=1e-4, atol=1e-4)
    f = sine
    for _ in range(5):
        f = wg.grad(f)
    assert f(0.7).item() == pytest.approx(np.cos(0.7), rel=1e-14)


def notes(error):
    return getattr(error, "__notes__", [])


def test_exceptions_keep_their_type_gain_a_note_and_leave_the_tape_usable():
    class OwnError(Exception):
        pass

    switch = {"function": False, "rule": False}

    @wg.primitive
    def moody(x):
        if switch["function"]:
            raise OwnError("in the function")
        return 2 * x

    def rule(g, y, x):
        if switch["rule"]:
            raise OwnError("in the rule")
        return 2 * g

    moody.defvjp(rule)
    x = wg.tensor(X, requires_grad=True)
    before = wg._core.tape_length()
    switch["function"] = True
    with pytest.raises(OwnError, match="in the function") as caught:
        moody(x)
    assert notes(caught.value) == ["in the function of the primitive 'moody'"]
    assert wg._core.tape_length() == before
    switch["function"] = False

    y = (moody(x) * x).sum()
    switch["rule"] = True
    with pytest.raises(OwnError, match="in the rule") as caught:
        y.backward()
    assert notes(caught.value) == ["in the reverse rule of the primitive 'moody'"]
    assert x.grad is None
    with pytest.raises(OwnError) as caught:  # forward mode, from the same rule
        wg.jvp(moody, (X,), (X,))
    assert notes(caught.value) == ["in the reverse rule of the primitive 'moody'"]
    switch["rule"] = False
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * X)


def test_wrong_rules_are_told():
    f = wg.primitive(np.exp)
    with pytest.raises(TypeError, match=r"exp has no derivative.*defvjp"):
        wg.grad(lambda x: f(x).sum())(X)
    f.defvjp(lambda g, y, x: g[:1])
    with pytest.raises(ValueError, match=r"exp: the rule returned shape \(1,\), expected \(3,\)"):
        wg.grad(lambda x: f(x).sum())(X)
    two = wg.primitive(np.add)
    two.defvjp(lambda g, z, x, y: g)
    with pytest.raises(TypeError, match="add: defvjp gave 1 rules, none for argument 1"):
        wg.grad(lambda y: two(X, y).sum())(X)
    pair = wg.primitive(lambda x: (x, x))
    pair.defjvp(lambda t, y, x: (t,))
    with pytest.raises(ValueError, match="1 tangents for 2 results"):
        wg.jvp(pair, (X,), (X,))


def test_tensors_hide_in_no_list_and_no_keyword():
    f = wg.primitive(lambda x, y=None: x)
    for call in (lambda: f([wg.tensor(X)]), lambda: f(X, y=wg.tensor(X))):
        with pytest.raises(TypeError, match="tensors must be positional"):
            call()


def test_a_tuple_of_results_holds_floats():
    with pytest.raises(TypeError, match=r"tuple of results must hold float arrays, got \(float64, int64\)"):
        wg.primitive(lambda x: (x, np.arange(3)))(X)


def test_empty_jacobian():
    f = power_with("rev")
    assert wg.jacobian(f, mode="rev")(np.zeros(0), np.zeros(0)).shape == (0, 0)


def test_nothing_is_kept_alive_by_calls():
    f = power_with("rev")
    x = wg.tensor(X, requires_grad=True)
    before = wg._core.tape_length()
    for _ in range(100):
        f(x, Y)
    assert wg._core.tape_length() == before


def test_a_compiled_step_calls_the_function_anew():
    size, broken = [3], [False]

    @wg.primitive
    def double(x):
        if broken[0]:
            raise KeyError("broken")
        return 2 * x[: size[0]]

    double.defvjp(lambda g, y, x: 2 * g)
    step = wg.compile(wg.value_and_grad(lambda x: double(wg.sin(x)).sum()))
    for x in (X, Y, X + Y):
        value, gradient = step(wg.tensor(x))
        np.testing.assert_allclose(value.item(), 2 * np.sin(x).sum(), rtol=1e-14)
        np.testing.assert_allclose(gradient.numpy(), 2 * np.cos(x), rtol=1e-14)
    broken[0] = True
    with pytest.raises(KeyError, match="broken") as caught:
        step(wg.tensor(X))
    assert notes(caught.value) == ["in the function of the primitive 'double'"]
    broken[0], size[0] = False, 2
    with pytest.raises(RuntimeError, match=r"double: returned float64\(2,\) .* float64\(3,\) when it was recorded"):
        step(wg.tensor(X))
    size[0] = 3
    assert step(wg.tensor(X))[0].item() == pytest.approx(2 * np.sin(X).sum())


def test_primitives_are_collected_with_their_rules():
    def use():
        f = wg.primitive(lambda x: 2 * x)
        f.defvjp(lambda g, y, x: f(g))
        x = wg.tensor(X, requires_grad=True)
        f(x).sum().backward()
        return weakref.ref(f)

    gone = use()
    gc.collect()
    assert gone() is None


def test_threads_run_rules_side_by_side():
    f = power_with("rev")
    results = []

    def work():
        for _ in range(50):
            x = wg.tensor(X, requires_grad=True)
            f(wg.sin(x), Y).sum().backward()
        results.append(x.grad.numpy())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    for r in results:
        np.testing.assert_allclose(r, 3 * np.sin(X) ** 2 * np.cos(X) * Y, rtol=1e-13)
