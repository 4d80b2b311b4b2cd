"""Optimizers: every step against the published formula in NumPy, float64."""

import re

import numpy as np
import pytest

import wengert as wg
from wengert import optim

rng = np.random.default_rng(0)
START = rng.standard_normal((3, 4))
GRADS = rng.standard_normal((7, 3, 4))


def raises(kind, message):
    return pytest.raises(kind, match=re.escape(message))


def parameter(value=START, dtype="float64"):
    return wg.tensor(value, dtype, requires_grad=True)


# One reference per optimizer: a generator that is sent gradients and yields parameters, as the PyTorch documentation
# writes the algorithms.
def sgd(p, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    v = None
    while True:
        g = (yield p) + weight_decay * p
        v = g if v is None else momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v if momentum else g)


def adam(p, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    m = v = t = 0
    while True:
        g = yield p
        t += 1
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


def rmsprop(p, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0):
    v = b = 0
    while True:
        g = (yield p) + weight_decay * p
        v = alpha * v + (1 - alpha) * g**2
        b = momentum * b + g / (np.sqrt(v) + eps)
        p = p - lr * b


def adagrad(p, lr, lr_decay=0.0, eps=1e-10, weight_decay=0.0):
    total = t = 0
    while True:
        g = (yield p) + weight_decay * p
        total = total + g**2
        p = p - lr / (1 + t * lr_decay) * g / (np.sqrt(total) + eps)
        t += 1


CASES = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (optim.Adam, adam, {"lr": 0.1}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.3}),
    (optim.AdamW, lambda *a, **k: adam(*a, decoupled=True, **k), {"lr": 0.1, "weight_decay": 0.3}),
    (optim.RMSprop, rmsprop, {"lr": 0.1}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "alpha": 0.5, "momentum": 0.9, "weight_decay": 0.3, "eps": 0.1}),
    (optim.Adagrad, adagrad, {"lr": 0.1}),
    (optim.Adagrad, adagrad, {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.3}),
]
EACH = pytest.mark.parametrize(
    ("make", "formula", "numbers"), CASES, ids=lambda c: c.__name__ if isinstance(c, type) else ""
)


@EACH
def test_steps_follow_the_formula(make, formula, numbers):
    p = parameter()
    opt = make([p], **numbers)
    reference = formula(START, **numbers)
    next(reference)
    for g in GRADS:
        p.grad = g
        opt.step()
        np.testing.assert_allclose(p.numpy(), reference.send(g), rtol=1e-12)
    single = parameter(dtype="float32")
    opt = make([single], **numbers)
    for g in GRADS:
        single.grad = g
        opt.step()
    np.testing.assert_allclose(single.numpy(), p.numpy(), rtol=2e-5, atol=2e-6)


@EACH
def test_a_loaded_state_goes_on_as_if_nothing_had_happened(make, formula, numbers):
    def run(opt, p, grads):
        for g in grads:
            p.grad = g
            opt.step()

    p = parameter()
    opt = make([p], **numbers)
    run(opt, p, GRADS[:4])
    q = parameter(p.numpy())
    fresh = make([q], **(numbers | {"lr": 99.0}))
    fresh.load_state_dict(opt.state_dict())
    run(opt, p, GRADS[4:])
    run(fresh, q, GRADS[4:])
    assert np.array_equal(p.numpy(), q.numpy())


def test_a_state_that_does_not_fit_changes_nothing():
    opt = optim.Adam([parameter()], lr=0.1)
    with raises(ValueError, "Adam.load_state_dict: the names differ: alpha, beta1"):
        opt.load_state_dict(optim.RMSprop([parameter()]).state_dict())
    with raises(ValueError, "mean.0 has shape (3, 4), the state has (4, 3)"):
        opt.load_state_dict(optim.Adam([parameter(START.T)], lr=0.7).state_dict())
    assert opt.lr == 0.1


def test_a_parameter_without_a_gradient_is_left_alone():
    used, unused = parameter(), parameter()
    opt = optim.Adam(iter([unused, used]), lr=0.1, weight_decay=0.5)
    reference = adam(START, lr=0.1, weight_decay=0.5)
    next(reference)
    for g in GRADS[:2]:
        used.grad = g
        opt.step()
        np.testing.assert_allclose(used.numpy(), reference.send(g), rtol=1e-12)
    assert np.array_equal(unused.numpy(), START)
    opt.zero_grad()
    assert used.grad is None
    with raises(RuntimeError, "Adam.step: no parameter has a gradient; call loss.backward() first"):
        opt.step()


def test_earlier_views_keep_their_values():
    p = parameter()
    opt = optim.SGD([p], lr=0.1)
    view, state = p.numpy(), opt.state_dict()
    p.grad = GRADS[0]
    opt.step()
    assert np.array_equal(view, START)
    assert state["steps"].tolist() == [0]


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad])
def test_what_is_no_list_of_parameters_is_refused(make):
    p = parameter()
    name = make.__name__
    with raises(ValueError, f"{name}: the list of parameters is empty"):
        make([])
    with raises(ValueError, f"{name}: parameter 1 of shape (3, 4) is the result of a computation"):
        make([p, p * 2])
    with raises(ValueError, f"{name}: parameter 0 of shape (2,) has requires_grad=False"):
        make([wg.tensor([1.0, 2.0])])
    with raises(ValueError, f"{name}: the list holds a parameter twice"):
        make([p, p])
    with raises(TypeError, f"{name}: params must be a list of tensors, got a Tensor"):
        make(p)
    with raises(TypeError, "got a Linear; use model.parameters()"):
        make(wg.nn.Linear(2, 2))
    with raises(TypeError, f"{name}: parameter 0 is a ndarray, expected a tensor"):
        make([START])
    with raises(ValueError, f"{name}: lr must be a number of at least 0, got -1"):
        make([p], lr=-1)


def test_numbers_that_cannot_be_are_refused_before_anything_changes():
    p = parameter()
    for opt in (optim.SGD([p], lr=0.1), optim.Adam([p]), optim.RMSprop([p]), optim.Adagrad([p])):
        p.grad = GRADS[0]
        with raises(ValueError, "lr must be a number of at least 0, got nan"):
            opt.lr = float("nan")
            opt.step()
    without = optim.SGD([p], lr=0.1)
    with raises(ValueError, "made without momentum"):
        without.momentum = 0.9
        without.step()
    assert np.array_equal(p.numpy(), START)
    with raises(ValueError, "nesterov needs a momentum"):
        optim.SGD([p], nesterov=True)
    with raises(ValueError, "betas must be below 1, got"):
        optim.Adam([p], betas=(0.9, 1.0))


def test_clip_grad_norm():
    p, q, unused = parameter(np.zeros(2)), parameter(np.zeros(1), "float32"), parameter(0.0)
    p.grad, q.grad = [3.0, 0.0], [4.0]
    assert optim.clip_grad_norm_([p, q, unused], 10.0).item() == 5
    assert p.grad.tolist() == [3, 0]
    assert optim.clip_grad_norm_(iter([p, q, unused]), 1.0).item() == 5
    np.testing.assert_allclose([*p.grad.tolist(), *q.grad.tolist()], [0.6, 0, 0.8], rtol=1e-6)
    assert q.grad.dtype == np.float32
    with raises(ValueError, "max_norm must be positive, got 0"):
        optim.clip_grad_norm_([p], 0)


def test_schedules():
    def rates(schedule, n):
        return [(schedule.step(), schedule.optimizer.lr)[1] for _ in range(n)]

    def fresh():
        return optim.SGD([parameter()], lr=2.0)

    assert rates(optim.StepLR(fresh(), every=2, gamma=0.5), 5) == [2, 1, 1, 0.5, 0.5]
    assert rates(optim.Schedule(fresh(), lambda t: 0.5**t), 3) == [1, 0.5, 0.25]
    np.testing.assert_allclose(rates(optim.CosineLR(fresh(), total=4, final=0.1), 5),
        0.2 + 0.9 * (1 + np.cos(np.pi * np.array([1, 2, 3, 4, 4]) / 4)), rtol=1e-12)  # fmt: skip


def make_sgd(lr=2.0):
    return optim.SGD([parameter()], lr=lr)


def together(optimizer, schedules, n):
    """The rate after each of n rounds in which all schedules step."""
    return [([s.step() for s in schedules], optimizer.lr)[1] for _ in range(n)]


def test_schedules_of_one_optimizer_multiply():
    opt = make_sgd()
    warmup, cosine = optim.WarmupLR(opt, total=4), optim.CosineLR(opt, total=8)
    assert opt.lr == 0
    t = np.arange(1, 9)
    expected = 2 * np.minimum(t / 4, 1) * (1 + np.cos(np.pi * t / 8)) / 2
    np.testing.assert_allclose(together(opt, [warmup, cosine], 8), expected, rtol=1e-12, atol=1e-15)
    assert opt.initial_lr == 2


def test_chained_schedules_each_count_from_their_beginning():
    opt = make_sgd()
    chain = optim.ChainLR([optim.WarmupLR(opt, 2), optim.StepLR(opt, 1, 0.5), optim.CosineLR(opt, 2)], lengths=[2, 2])
    np.testing.assert_allclose(together(opt, [chain], 7), [1, 2, 1, 2, 1, 0, 0], atol=1e-15)
    with raises(RuntimeError, "WarmupLR.step: a later schedule, or one that contains it, has taken over"):
        chain.parts[0].step()
    with raises(ValueError, "need a length for each but the last"):
        optim.ChainLR([optim.StepLR(opt, 1)], lengths=[3])
    with raises(ValueError, "different optimizers"):
        optim.ChainLR([optim.StepLR(opt, 1), optim.StepLR(make_sgd(), 1)], lengths=[3])


def test_a_later_schedule_begins_a_new_phase_from_the_initial_rate():
    opt = make_sgd()
    first = optim.CosineLR(opt, total=2)
    assert together(opt, [first], 2)[-1] == 0
    second = optim.StepLR(opt, every=1, gamma=0.5)
    assert opt.lr == 2 and together(opt, [second], 1) == [1]
    with raises(RuntimeError, "CosineLR.step: a later schedule"):
        first.step()
    assert opt.lr == 1
    opt.lr = 8
    assert opt.initial_lr == 8 and together(opt, [second], 1) == [2]


@pytest.mark.parametrize("when", range(9))
def test_a_restart_at_any_step_continues_the_rates(when):
    def fresh():
        opt = make_sgd()
        chain = [optim.WarmupLR(opt, 3), optim.StepLR(opt, 2, 0.5)]
        return opt, [optim.ChainLR(chain, [3]), optim.CosineLR(opt, 9, final=0.1)]

    opt, schedules = fresh()
    together(opt, schedules, when)
    states = [x.state_dict() for x in (opt, *schedules)]
    opt2, schedules2 = fresh()
    for x, state in zip((opt2, *schedules2), states, strict=True):
        x.load_state_dict(state)
    assert opt2.lr == opt.lr
    assert together(opt2, schedules2, 9) == together(opt, schedules, 9)


def test_a_schedule_made_after_loading_starts_from_the_initial_rate():
    opt = make_sgd()
    together(opt, [optim.CosineLR(opt, 4)], 3)
    resumed = make_sgd(lr=0.7)
    resumed.load_state_dict(opt.state_dict())
    assert resumed.lr == opt.lr < 1 and resumed.initial_lr == 2
    schedule = optim.CosineLR(resumed, 4)
    schedule.load_state_dict({"t": 3})
    assert resumed.lr == opt.lr
    old = {name: a for name, a in opt.state_dict().items() if name != "initial_lr"}  # as the first version wrote it
    resumed.load_state_dict(old)
    assert resumed.initial_lr == opt.lr


def test_a_rate_that_cannot_be_leaves_the_schedule_where_it_was():
    opt = make_sgd()
    schedule = optim.Schedule(opt, lambda t: [1.0, 0.5, float("nan")][t])
    schedule.step()
    for call in (
        schedule.step,
        lambda: schedule.load_state_dict({"t": 2}),
        lambda: optim.Schedule(opt, lambda t: -1.0),
    ):
        with raises(ValueError, "SGD: lr must be a number of at least 0"):
            call()
        assert (schedule.t, opt.lr, opt.schedules) == (1, 1.0, [schedule])
    with raises(ValueError, "expected the name t, got x"):
        schedule.load_state_dict({"x": 1})
    for make in (optim.WarmupLR, optim.CosineLR, optim.StepLR):
        with raises(ValueError, f"{make.__name__}: "):
            make(opt, 0)


@pytest.mark.parametrize(
    ("make", "numbers"),
    [
        (optim.SGD, {"lr": 0.1}),
        (optim.SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
        (optim.Adam, {"lr": 0.1}),
        (optim.AdamW, {"lr": 0.1, "weight_decay": 0.0}),
        (optim.RMSprop, {"lr": 0.05}),
        (optim.Adagrad, {"lr": 1.0}),
    ],
)
def test_every_optimizer_finds_the_minimum(make, numbers):
    p = parameter(np.array([1.0, -2.0]))
    opt = make([p], **numbers)
    schedule = optim.CosineLR(opt, total=200)
    for _ in range(200):
        opt.zero_grad()
        ((p - [3.0, 0.5]) ** 2 * [1.0, 4.0]).sum().backward()
        opt.step()
        schedule.step()
    np.testing.assert_allclose(p.numpy(), [3, 0.5], atol=1e-2)
