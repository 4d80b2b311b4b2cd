"""The tape: what is recorded, how long it lives, what a sweep leaves behind, and what it refuses.

Covers backward and its options, transforms and how they nest, staleness, several tapes and threads, length and memory.
"""

import gc
from collections import namedtuple

import numpy as np
import pytest
from side_by_side import in_threads

import wengert as wg


def leaf(data, **kwargs):
    return wg.tensor(data, requires_grad=True, **kwargs)


def resident_bytes():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


# --- backward --------------------------------------------------------------------------------------------------
def test_backward_accumulates_until_grad_is_none():
    x = leaf([1.0, 2.0])
    assert x.grad is None
    wg.sum(x * x).backward()
    wg.sum(3 * x).backward()
    assert x.grad.tolist() == [5.0, 7.0]
    kept = x.grad
    x.grad = None
    assert x.grad is None
    wg.sum(x).backward()
    assert x.grad.tolist() == [1.0, 1.0]
    assert kept.tolist() == [5.0, 7.0]  # a gradient that was handed out does not change


def test_accumulation_does_not_write_into_what_was_handed_out():
    x = leaf([1.0, 2.0])
    wg.sum(x * x).backward()
    first = x.grad.numpy()
    wg.sum(x * x).backward()
    assert first.tolist() == [2.0, 4.0]
    seed = wg.tensor([1.0, 1.0])
    y = leaf([0.0, 0.0])
    (y + 0).backward(seed)
    (y + 0).backward(seed)
    assert seed.tolist() == [1.0, 1.0]
    assert y.grad.tolist() == [2.0, 2.0]


def test_a_leaf_used_in_several_places_gets_the_sum():
    x = leaf(3.0)
    y = x * x + x
    (y * x + wg.sin(x)).backward()
    np.testing.assert_allclose(x.grad, 3 * 9 + 2 * 3 + np.cos(3.0), rtol=1e-15)


def test_backward_of_a_leaf_itself():
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_grad_argument_is_the_cotangent():
    x = leaf([1.0, 2.0, 3.0])
    (x * x).backward([1.0, 10.0, 100.0])
    assert x.grad.tolist() == [2.0, 40.0, 600.0]
    with pytest.raises(ValueError, match=r"backward: grad has shape \(2,\), the result has \(3,\)"):
        (x * x).backward([1.0, 2.0])


def test_grad_can_be_set_and_is_checked():
    x = leaf([1.0, 2.0])
    x.grad = [3.0, 4.0]
    wg.sum(x).backward()
    assert x.grad.tolist() == [4.0, 5.0]
    with pytest.raises(ValueError, match=r"\.grad of a tensor of shape \(2,\) cannot have shape \(3,\)"):
        x.grad = [1.0, 2.0, 3.0]
    with pytest.raises(RuntimeError, match=r"only leaves have a \.grad"):
        (x * 2).grad = [1.0, 2.0]
    assert x.grad.tolist() == [4.0, 5.0]


def test_backward_of_several_numbers_needs_grad():
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"backward: the result has shape \(2,\), not one number; pass grad="):
        (x * x).backward()
    assert x.grad is None


def test_backward_of_a_constant_is_refused():
    with pytest.raises(RuntimeError, match="does not depend on any tensor with requires_grad=True"):
        (wg.tensor(1.0) * 2).backward()


def test_second_backward_is_refused_and_names_the_operation():
    x = leaf(2.0)
    y = wg.exp(x) * x
    y.backward()
    before = x.grad.item()
    with pytest.raises(RuntimeError, match="the tape behind multiply was released by an earlier backward; pass retain"):
        y.backward()
    assert x.grad.item() == before
    z = wg.exp(x)
    u, v = z * 2, z * 3
    u.backward()
    with pytest.raises(RuntimeError, match="the tape behind exp was released"):
        v.backward()
    np.testing.assert_allclose(x.grad, before + 2 * np.exp(2.0))  # nothing half done


def test_retain_tape_allows_a_second_backward():
    x = leaf(2.0)
    y = wg.exp(x) * x
    y.backward(retain_tape=True)
    y.backward()
    np.testing.assert_allclose(x.grad, 2 * (np.exp(2.0) + 2 * np.exp(2.0)))
    with pytest.raises(RuntimeError, match="released"):
        y.backward()


def test_create_graph_to_order_five():
    x = leaf(0.7)
    y = wg.tanh(x)
    derivatives = []
    for _ in range(5):
        x.grad = None
        y.backward(create_graph=True)
        y = x.grad
        derivatives.append(y.item())
    t = np.tanh(0.7)
    s = 1 - t**2
    expected = [s, -2 * t * s, (6 * t**2 - 2) * s, (16 * t - 24 * t**3) * s, (16 - 120 * t**2 + 120 * t**4) * s]
    np.testing.assert_allclose(derivatives, expected, rtol=1e-11)
    x.grad = None


def test_without_create_graph_gradients_are_constants():
    x = leaf(0.7)
    wg.sin(x).backward()
    assert not x.grad.requires_grad
    x.grad = None
    wg.sin(x).backward(create_graph=True)
    assert x.grad.requires_grad
    x.grad = None


def test_no_grad_detach_and_stop_gradient():
    x = leaf([1.0, 2.0])
    with wg.no_grad():
        assert not (x * x).requires_grad
        with pytest.raises(RuntimeError, match="no_grad"):
            wg.sum(x).backward()
    assert (x * x).requires_grad
    y = x * x
    assert not y.detach().requires_grad
    wg.sum(y.detach() * x + wg.stop_gradient(x)).backward()
    assert x.grad.tolist() == [1.0, 4.0]

    @wg.no_grad()
    def decorated(x):
        return x * x

    assert not decorated(x).requires_grad
    with pytest.raises(ZeroDivisionError), wg.no_grad():
        _ = 1 / 0
    assert (x * x).requires_grad


def test_requires_grad_is_for_float_leaves():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="only be set on leaves; this is the result of multiply"):
        (x * x).requires_grad = True
    for data in ([1, 2], [True, False]):
        with pytest.raises(TypeError, match=r"only float tensors have gradients, this is (int64|bool)"):
            wg.tensor(data, requires_grad=True)
        with pytest.raises(TypeError, match="only float tensors have gradients"):
            wg.tensor(data).requires_grad = True
    x.requires_grad = False
    assert not (x * x).requires_grad


# --- What was recorded must not have changed -------------------------------------------------------------------
def test_a_leaf_changed_after_recording_is_noticed():
    w = leaf([1.0, 2.0])
    w.name = "weight"
    x = leaf([3.0, 4.0])
    y = wg.sum(w * x)
    w.assign([5.0, 6.0])
    with pytest.raises(
        RuntimeError, match=r"multiply: operand 0 \(a tensor 'weight', shape \(2,\)\) was changed in place"
    ):
        y.backward()
    assert x.grad is None
    assert w.grad is None
    wg.sum(w * x).backward()
    assert x.grad.tolist() == [5.0, 6.0]


def test_a_change_that_no_rule_reads_is_harmless():
    w = leaf([1.0, 2.0])
    y = wg.sum(w + 1)
    w.assign([5.0, 6.0])
    y.backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_numpy_views_keep_the_old_values():
    w = leaf([1.0, 2.0])
    before, detached = w.numpy(), w.detach()
    w.assign([5.0, 6.0])
    assert before.tolist() == [1.0, 2.0]
    assert detached.tolist() == [1.0, 2.0]
    assert w.tolist() == [5.0, 6.0]


def test_assign_refuses_and_leaves_the_values():
    w = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"assign: a tensor of shape \(2,\) cannot take values of shape \(3,\)"):
        w.assign([1.0, 2.0, 3.0])
    with pytest.raises(
        RuntimeError, match="assign: only leaves can be changed in place, operand 0 is the result of multiply"
    ):
        (w * 1).assign([1.0, 2.0])
    assert w.tolist() == [1.0, 2.0]


def test_a_numpy_buffer_changed_between_forward_and_backward_is_noticed():
    a = np.array([1.0, 2.0, 3.0])
    x = leaf([1.0, 1.0, 1.0])
    y = wg.sum(wg.asarray(a) * x)
    a[1] = 7.0
    with pytest.raises(RuntimeError, match=r"multiply: the NumPy buffer behind operand 0 .* was changed"):
        y.backward()
    assert x.grad is None
    y = wg.sum(wg.tensor(a) * x)  # copies
    a[1] = 8.0
    y.backward()
    assert x.grad.tolist() == [1.0, 7.0, 3.0]


def test_a_numpy_buffer_may_be_filled_anew_for_each_step():
    a = np.array([1.0, 2.0])
    borrowed = wg.asarray(a)
    x = leaf([1.0, 1.0])
    for step in range(3):
        a[:] = step + 1
        x.grad = None
        wg.sum(borrowed * x).backward()
        assert x.grad.tolist() == [step + 1, step + 1]
    early = wg.sum(borrowed * x)
    a[:] = 10
    late = wg.sum(borrowed * x)
    with pytest.raises(RuntimeError, match="NumPy buffer"):
        early.backward()
    late.backward()


# --- Tapes and threads -----------------------------------------------------------------------------------------
def test_tensors_of_two_tapes_do_not_mix():
    x = leaf(2.0)
    with wg.Tape():
        y = x * x
    with pytest.raises(RuntimeError, match="multiply: operand 0 was recorded on another tape"):
        _ = y * x
    assert (y.detach() * x).requires_grad
    y.backward()
    assert x.grad.item() == 4.0


def test_two_overlapping_computations_on_one_thread():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    a = x * w
    b = wg.exp(x)
    c = wg.sum(a * a)
    d = wg.sum(b * w)
    c.backward()
    assert x.grad.tolist() == [18.0, 64.0]
    assert w.grad.tolist() == [6.0, 32.0]
    d.backward()
    np.testing.assert_allclose(x.grad, [18.0, 64.0] + np.exp([1.0, 2.0]) * [3.0, 4.0])
    np.testing.assert_allclose(w.grad, np.add([6.0, 32.0], np.exp([1.0, 2.0])))


def test_eight_threads_with_shared_parameters():
    rng = np.random.default_rng(0)
    weights = [leaf(rng.standard_normal((24, 24)) / 5) for _ in range(3)]

    def loss(weights, x):
        h = wg.tensor(x)
        for w in weights:
            h = wg.tanh(h @ w)
        return wg.sum(h * h)

    def work(k):
        x = np.random.default_rng(k).standard_normal((16, 24))
        for _ in range(20):
            gradients = wg.grad(lambda weights: loss(weights, x))(weights)
        return [g.numpy() for g in gradients]

    for k, gradients in enumerate(in_threads(8, work)):
        for got, alone in zip(gradients, work(k), strict=True):
            np.testing.assert_array_equal(got, alone)
    assert all(w.grad is None for w in weights)


def test_eight_threads_accumulate_into_shared_parameters():
    w = leaf(np.ones(50_000))

    def work(k):
        for _ in range(10):
            wg.sum(w * float(k + 1)).backward()

    in_threads(8, work)
    np.testing.assert_array_equal(w.grad, np.full(50_000, 10.0 * 36))


def test_a_thread_refuses_another_threads_tape():
    x = leaf(2.0)
    y = x * x

    def work(_):
        with pytest.raises(RuntimeError, match="recorded on another tape"):
            _ = y * x

    in_threads(1, work)
    y.backward()
    assert x.grad.item() == 4.0


def test_tensors_outlive_their_thread():
    (y,) = in_threads(1, lambda _: leaf([1.0, 2.0]) * 2)
    assert y.tolist() == [2.0, 4.0]
    del y
    gc.collect()


# --- Length and memory -----------------------------------------------------------------------------------------
def test_a_chain_of_a_million_operations():
    n = 1_000_000
    x = leaf(1.0)
    y = x
    for _ in range(n):
        y = -y
    y.backward()
    assert x.grad.item() == 1.0
    del y
    y = x
    for _ in range(n):
        y = y + 1.0
    assert y.item() == n + 1.0
    del y  # frees it, never differentiated
    assert wg._core.tape_length() < 1000


def test_evaluation_without_backward_does_not_grow():
    w, x = leaf(np.ones((8, 8)) / 8), wg.tensor(np.ones((4, 8)))

    def evaluate(n):
        for _ in range(n):
            y = wg.sum(wg.tanh(x @ w))
        return y

    evaluate(2000)
    length, before = wg._core.tape_length(), resident_bytes()
    evaluate(100_000)
    assert resident_bytes() - before < 5e6
    assert wg._core.tape_length() <= length


def test_a_training_loop_does_not_grow():
    w, x = leaf(np.ones((8, 8)) / 8), wg.tensor(np.ones((4, 8)))

    def train(n):
        for _ in range(n):
            wg.sum(wg.tanh(x @ w)).backward()
            w.assign(w.detach() - 1e-9 * w.grad)
            w.grad = None

    train(2000)
    length, before = wg._core.tape_length(), resident_bytes()
    train(100_000)
    assert resident_bytes() - before < 5e6
    assert wg._core.tape_length() <= length


def test_transforms_leave_nothing_on_the_tape():
    f = lambda x: wg.sum(wg.sin(x) * wg.exp(x))  # noqa: E731
    x = wg.tensor([0.1, 0.2])
    gc.collect()
    before = wg._core.tape_length()
    for transform in (
        wg.grad(f),
        wg.hessian(f),
        wg.jacobian(wg.sin, mode="fwd"),
        wg.grad(lambda x: wg.sum(wg.grad(f)(x))),
    ):
        transform(x)
    wg.jvp(f, (x,), (x,))
    wg.hvp(f, x, x)
    wg.vjp(f, x)[1](1.0)
    assert wg._core.tape_length() == before


# --- Exceptions ------------------------------------------------------------------------------------------------
def test_an_exception_in_the_middle_of_a_sweep_leaves_the_tape_usable():
    a = np.ones(3)
    x, w = leaf([1.0, 2.0, 3.0]), leaf([1.0, 1.0, 1.0])
    h = w * wg.asarray(a)
    y = wg.sum(wg.exp(x) * h)
    a[0] = 2.0
    for _ in range(2):
        with pytest.raises(RuntimeError, match="NumPy buffer"):
            y.backward()
        assert x.grad is None
        assert w.grad is None
    a[0] = 1.0  # as it was
    y.backward()
    np.testing.assert_allclose(x.grad, np.exp([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(w.grad, np.exp([1.0, 2.0, 3.0]))


def test_an_exception_in_a_transformed_function_leaves_everything_as_it_was():
    def f(x):
        _ = x * x
        raise KeyError("mine")

    for call in (lambda: wg.grad(f)(1.0), lambda: wg.jvp(f, (1.0,), (1.0,)), lambda: wg.grad(wg.grad(f))(1.0)):
        with pytest.raises(KeyError, match="mine"):
            call()
    x = leaf(2.0)
    y = x * x
    assert float(y) == 4.0  # no transform is open
    y.backward()
    assert x.grad.item() == 4.0


# --- Transforms ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("escape", [float, int, bool, lambda x: x.item(), lambda x: x.numpy(), np.asarray])
@pytest.mark.parametrize("transform", [wg.grad, wg.jacobian, lambda f: lambda x: wg.jvp(f, (x,), (1.0,))])
def test_escapes_from_a_transform_are_refused(escape, transform):
    def f(x):
        return x * escape(x * 2.0)

    with pytest.raises(TypeError, match="would cut the gradient"):
        transform(f)(3.0)
    assert wg.grad(lambda x: x * float(wg.stop_gradient(x)))(3.0).item() == 3.0
    assert wg.grad(lambda x: x * float(wg.tensor(2.0)))(3.0).item() == 2.0  # a constant may


def test_control_flow_on_comparisons_is_allowed():
    f = lambda x: x * x if x > 0 else -x  # noqa: E731
    assert wg.grad(f)(3.0).item() == 6.0
    assert wg.grad(f)(-3.0).item() == -1.0


def test_arguments_must_be_floats():
    assert wg.grad(lambda x: x * x)(3).item() == 6.0  # Python's whole numbers count as floats
    for bad in (np.array([1, 2]), np.int64(3), wg.tensor([1, 2])):
        with pytest.raises(
            TypeError, match="grad: cannot differentiate with respect to an array of dtype int64; use floats"
        ):
            wg.grad(lambda x: wg.sum(x * 1.0))(bad)
    with pytest.raises(TypeError, match="with respect to a bool"):
        wg.grad(lambda x: x * 1.0)(True)
    with pytest.raises(TypeError, match="int64, which has no gradient"):
        wg.grad(lambda x: wg.argmax(x))(np.ones(3))


def test_grad_needs_one_number():
    with pytest.raises(
        ValueError, match=r"grad: the function must return one number, got shape \(2,\); use wg.jacobian"
    ):
        wg.grad(lambda x: x * x)(np.ones(2))
    with pytest.raises(TypeError, match="grad: the function must return one number, got tuple; see has_aux"):
        wg.grad(lambda x: (x, x))(1.0)


def test_argnums_and_has_aux():
    f = lambda x, y, z=1.0: x * y**2 * z  # noqa: E731
    assert wg.grad(f)(2.0, 3.0).item() == 9.0
    assert wg.grad(f, argnums=1)(2.0, 3.0).item() == 12.0
    assert wg.grad(f, argnums=-1)(2.0, 3.0).item() == 12.0
    assert [g.item() for g in wg.grad(f, argnums=(1, 0))(2.0, 3.0, z=2.0)] == [24.0, 18.0]
    with pytest.raises(ValueError, match="argnums 2 is out of range for 2 positional arguments"):
        wg.grad(f, argnums=2)(2.0, 3.0)
    (value, aux), gradient = wg.value_and_grad(lambda x: (x * x, {"cube": x**3, "note": "n"}), has_aux=True)(2.0)
    assert (value.item(), aux["cube"].item(), aux["note"], gradient.item()) == (4.0, 8.0, "n", 4.0)
    assert not aux["cube"].requires_grad
    gradient, aux = wg.grad(lambda x: (x * x, x), has_aux=True)(2.0)
    assert (gradient.item(), aux.item()) == (4.0, 2.0)
    with pytest.raises(TypeError, match=r"must return \(output, aux\)"):
        wg.grad(lambda x: x, has_aux=True)(2.0)


Point = namedtuple("Point", "x y")


def test_nested_structures():
    tree = {"a": [np.array([1.0, 2.0]), (3.0, None)], "p": Point(4.0, np.array(5.0))}

    def f(t):
        return wg.sum(t["a"][0] ** 2) * t["a"][1][0] + t["p"].x * t["p"].y

    g = wg.grad(f)(tree)
    assert g["a"][0].tolist() == [6.0, 12.0]
    assert g["a"][1][0].item() == 5.0
    assert g["a"][1][1] is None
    assert isinstance(g["p"], Point)
    assert (g["p"].x.item(), g["p"].y.item()) == (5.0, 4.0)
    out, pullback = wg.vjp(lambda t: {"s": t["u"] * 2, "p": [t["u"] * t["v"]]}, {"u": 3.0, "v": 4.0})
    assert out["p"][0].item() == 12.0
    (g,) = pullback({"s": 1.0, "p": [10.0]})
    assert (g["u"].item(), g["v"].item()) == (42.0, 30.0)
    j = wg.jacobian(lambda t: {"s": t["u"] * t["v"]})({"u": np.array([1.0, 2.0]), "v": 3.0})
    assert j["s"]["u"].tolist() == [[3.0, 0.0], [0.0, 3.0]]
    assert j["s"]["v"].tolist() == [1.0, 2.0]


def test_vjp_jvp_and_their_shapes():
    x = np.array([1.0, 2.0])
    y, pullback = wg.vjp(lambda x: x * x, x)
    assert y.tolist() == [1.0, 4.0]
    assert pullback([1.0, 0.0])[0].tolist() == [2.0, 0.0]
    assert pullback([0.0, 1.0])[0].tolist() == [0.0, 4.0]  # as often as one likes
    with pytest.raises(ValueError, match=r"vjp: the cotangent has shape \(3,\), expected \(2,\)"):
        pullback(np.ones(3))
    with pytest.raises(ValueError, match=r"jvp: the tangent has shape \(\), expected \(2,\)"):
        wg.jvp(lambda x: x * x, (x,), (1.0,))
    with pytest.raises(ValueError, match="jvp: 2 tangents for 1 arguments"):
        wg.jvp(lambda x: x * x, (x,), (x, x))
    value, tangent = wg.jvp(lambda x, y: x * y, (x, x), (np.ones(2), np.zeros(2)))
    assert value.tolist() == [1.0, 4.0]
    assert tangent.tolist() == [1.0, 2.0]
    assert wg.jvp(lambda x: wg.tensor(7.0), (x,), (x,))[1].item() == 0.0
    assert wg.grad(lambda x: wg.tensor(7.0) * 1.0)(x).tolist() == [0.0, 0.0]


def test_hessian_and_hvp():
    x, v = np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0, 2.0])
    f = lambda x: wg.sum(x[:-1] ** 2 * wg.sin(x[1:])) + wg.exp(x[0])  # noqa: E731
    h = wg.hessian(f)(x)
    np.testing.assert_allclose(h, h.T, rtol=1e-14)
    np.testing.assert_allclose(wg.hvp(f, x, v), h @ v, rtol=1e-13)
    reverse_over_reverse = wg.jacobian(wg.grad(f), mode="rev")(x)
    forward_over_forward = wg.jacobian(wg.jacobian(f, mode="fwd"), mode="fwd")(x)
    np.testing.assert_allclose(reverse_over_reverse, h, rtol=1e-13)
    np.testing.assert_allclose(forward_over_forward, h, rtol=1e-13)


def test_nested_transforms_see_captured_variables():
    # d/dx (x d/dy (x y^2)) = d/dx (2 x^2 y) = 4 x y
    assert wg.grad(lambda x: x * wg.grad(lambda y: x * y**2)(3.0))(2.0).item() == 24.0
    # Perturbation confusion: d/dx (x d/dy (x + y)) = 1
    assert wg.grad(lambda x: x * wg.grad(lambda y: x + y)(1.0))(1.0).item() == 1.0
    forward = lambda f: lambda x: wg.jvp(f, (x,), (1.0,))[1]  # noqa: E731
    assert forward(lambda x: x * forward(lambda y: x + y)(1.0))(1.0).item() == 1.0
    assert forward(lambda x: x * wg.grad(lambda y: x * y**2)(3.0))(2.0).item() == 24.0
    assert wg.grad(lambda x: x * forward(lambda y: x * y**2)(3.0))(2.0).item() == 24.0


def test_a_gradient_inside_a_leafs_backward():
    w = leaf(2.0)
    slope = wg.grad(lambda x: w * x**3)(3.0)  # 3 w x^2, still a function of w
    slope.backward()
    assert w.grad.item() == 27.0


def test_grad_inside_no_grad():
    w = leaf(2.0)
    with wg.no_grad():
        slope = wg.grad(lambda x: w * x**3)(3.0)
        assert slope.item() == 54.0
        assert not slope.requires_grad
        assert wg.hessian(lambda x: w * x**3)(3.0).item() == 36.0
        assert wg.jvp(wg.sin, (0.0,), (1.0,))[1].item() == 1.0
    assert wg.grad(lambda x: wg.grad(wg.sin)(x))(1.0).item() == -np.sin(1.0)


def test_no_grad_inside_grad_is_a_constant():
    def f(x):
        with wg.no_grad():
            c = x * x
        return c * x

    assert wg.grad(f)(3.0).item() == 9.0


def test_backward_inside_a_transform_does_not_disturb_it():
    w = leaf(5.0)

    def f(x):
        (w * w).backward()
        return x * x

    assert wg.grad(f)(3.0).item() == 6.0
    assert w.grad.item() == 10.0


def test_check_grads_finds_a_wrong_rule():
    wrong = lambda x: x * wg.stop_gradient(x)  # noqa: E731
    for mode in ("fwd", "rev"):
        with pytest.raises(AssertionError, match="central differences give"):
            wg.check_grads(wrong, (np.array([1.0, 2.0]),), order=1, modes=(mode,))
    right_once = lambda x: wg.stop_gradient(2 * x) * x - wg.stop_gradient(x * x)  # noqa: E731
    with pytest.raises(AssertionError):
        wg.check_grads(lambda x: right_once(x) + x**3, (np.array([1.0, 2.0]),), order=2)


# --- The tensor ------------------------------------------------------------------------------------------------
def test_conversions_to_python():
    assert wg.tensor(2.5).item() == 2.5
    assert wg.tensor([2]).item() == 2
    assert isinstance(wg.tensor([2]).item(), int)
    assert wg.tensor(True).item() is True
    assert int(wg.tensor(7)) == 7
    assert [10, 20, 30][wg.tensor(1)] == 20
    for convert in (float, int, lambda x: x.item()):
        with pytest.raises(TypeError, match=r"needs a tensor of one element, got shape \(2,\)"):
            convert(wg.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"truth of a tensor of shape \(2,\) is ambiguous"):
        bool(wg.tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match="can be an index, got float64"):
        _ = [1, 2][wg.tensor(1.0)]
    with pytest.raises(TypeError, match="0-d"):
        len(wg.tensor(1.0))
    with pytest.raises(TypeError, match=r"wg\.stack"):
        wg.tensor([leaf(1.0), leaf(2.0)])


def test_shown_as_text():
    assert repr(wg.tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    x = leaf(1.5, dtype="float32")
    x.name = "rate"
    assert repr(x) == "Tensor(1.5, dtype=float32, requires_grad=True, name='rate')"
    assert f"{wg.tensor(1.23456):.2f}" == "1.23"
    assert wg.grad(lambda x: (repr(x), x * x)[1])(3.0).item() == 6.0  # looking is allowed inside of a transform
