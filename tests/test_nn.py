"""Modules, layers and losses: values and gradients against closed forms, errors against their messages."""

import copy
import re

import numpy as np
import pytest
from scipy import special

import wengert as wg
from wengert import nn

rng = np.random.default_rng(0)


def raises(kind, message):
    return pytest.raises(kind, match=re.escape(message))


# ---- Modules ----


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Linear(3, 4, seed=0), wg.tanh, nn.BatchNorm1d(4))
        self.heads = {"left": nn.Linear(4, 2, bias=False, seed=1), "right": [nn.Linear(4, 1, seed=2)]}
        self.gain = wg.tensor(2.0, requires_grad=True)
        self.offset = wg.tensor(1.0)
        self.tied = self.heads["left"].weight

    def forward(self, x):
        h = self.body(x)
        return self.gain * self.heads["left"](h) + self.heads["right"][0](h) + self.offset


PARAMETERS = [
    "body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias", "heads.left.weight", "heads.right.0.weight",
    "heads.right.0.bias", "gain",
]  # fmt: skip


def test_parameters_are_found_once_and_named_by_their_path():
    net = Net()
    assert [path for path, _ in net.named_parameters()] == PARAMETERS
    assert net.body[0].weight.name == "body.0.weight"
    assert [path for path, _ in net.named_buffers()] == ["body.2.running_mean", "body.2.running_var", "offset"]
    assert [type(m).__name__ for m in net.children()] == ["Sequential", "Linear", "Linear"]


def test_a_frozen_parameter_is_a_buffer():
    net = Net()
    net.gain.requires_grad = False
    assert "gain" not in dict(net.named_parameters())
    assert "gain" in net.state_dict()


def test_results_and_cycles_among_attributes_are_harmless():
    net = Net()
    net.last = net(np.ones((2, 3)))
    net.parent = net
    assert [path for path, _ in net.named_parameters()] == PARAMETERS
    assert "last" not in net.state_dict()


def test_train_eval_and_zero_grad_reach_every_module():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for _, m in net.named_modules())
    assert all(m.training for _, m in net.train().named_modules())
    net(np.ones((2, 3))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_state_dict_is_a_copy_and_loads_into_another():
    net, other = Net(), Net()
    state = net.state_dict()
    before = state["gain"].copy()
    net.gain.assign(-1.0)
    assert state["gain"] == before
    other.load_state_dict(net.state_dict())
    x = rng.standard_normal((5, 3))
    assert np.array_equal(net.eval()(x).numpy(), other.eval()(x).numpy())


def test_a_state_that_does_not_fit_changes_nothing():
    net = Net()
    before = net.state_dict()
    with raises(ValueError, "missing gain; unknown volume"):
        net.load_state_dict({("volume" if k == "gain" else k): v + 1 for k, v in before.items()})
    wrong = {k: v + 1 for k, v in before.items()} | {"heads.left.weight": np.ones((2, 4))}
    for strict in (True, False):
        with raises(ValueError, "heads.left.weight has shape (4, 2) in Net, (2, 4) in the state"):
            net.load_state_dict(wrong, strict=strict)
    assert all(np.array_equal(v, before[k]) for k, v in net.state_dict().items())
    net.load_state_dict({"gain": 7.0, "volume": 1.0}, strict=False)
    assert net.gain.item() == 7


def test_errors_say_in_which_module_they_arose():
    net = Net()
    with raises(ValueError, "matmul: (2, 5) @ (3, 4): inner sizes 5 and 3 differ  [in Net.body.0]"):
        net(np.ones((2, 5)))
    with raises(ValueError, "(32, 784) @ (512, 10): inner sizes 784 and 512 differ  [in MLP.layers.1]"):
        model = nn.MLP([784, 784, 10])
        model.layers[1] = nn.Linear(512, 10)
        model(np.ones((32, 784)))
    with raises(ValueError, "inner sizes 5 and 3 differ  [in Linear]"):
        nn.Linear(3, 4)(np.ones((2, 5)))

    class Failing(nn.Module):
        def forward(self, x):
            raise KeyError("no such word")

    with pytest.raises(KeyError) as caught:
        nn.Sequential(nn.Sequential(Failing()))(0)
    assert caught.value.args == ("no such word  [in Sequential.0.0]",)
    with raises(NotImplementedError, "Module has no forward method"):
        nn.Module()(0)


def test_a_deep_copy_is_independent():
    net = Net()
    twin = copy.deepcopy(net)
    twin.gain.assign(9.0)
    assert net.gain.item() == 2
    assert [p.shape for p in twin.parameters()] == [p.shape for p in net.parameters()]


def test_repr_shows_the_tree():
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Dropout(0.5)))) == (
        "Sequential(\n  0: Linear(2, 3)\n  1: Sequential(\n    0: Dropout(0.5)\n  )\n)"
    )


# ---- Layers ----


def test_linear():
    layer = nn.Linear(3, 2, seed=0, dtype="float64")
    x = rng.standard_normal((4, 5, 3))
    layer.bias.assign([1.0, -1.0])
    np.testing.assert_allclose(layer(x).numpy(), x @ layer.weight.numpy() + [1, -1], rtol=1e-14)
    assert nn.Linear(3, 2, bias=False).parameters()[0].dtype == np.float32
    assert len(nn.Linear(3, 2, bias=False).parameters()) == 1
    assert nn.Linear(3, 2)(x).dtype == np.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(0, 2), "in_features must be a whole number of at least 1, got 0"),
        (lambda: nn.Linear(2, 2.5), "out_features must be a whole number of at least 1, got 2.5"),
        (lambda: nn.Linear(2, 2, init="zero"), "init must be one of glorot_uniform"),
        (lambda: nn.MLP([3]), "sizes needs an input and an output width, got [3]"),
        (lambda: nn.MLP([3, -1, 2]), "sizes[1] must be a whole number of at least 1, got -1"),
        (lambda: nn.MLP([3, 2], "rely"), "activation must be one of relu, tanh, gelu"),
        (lambda: nn.Dropout(1.0), "p must be in [0, 1), got 1.0"),
        (lambda: nn.init.he_normal((3,)), "needs a weight of shape (in, out)"),
    ],
)
def test_layers_refuse_what_cannot_be(make, message):
    with raises(ValueError, message):
        make()


@pytest.mark.parametrize("name", nn.ACTIVATIONS)
def test_mlp_activations_by_name(name):
    model = nn.MLP([3, 4, 2], name, seed=0, dtype="float64")
    x = rng.standard_normal((5, 3))
    w0, b0, w1, b1 = (p.numpy() for p in model.parameters())
    h = x @ w0 + b0
    closed = {
        "relu": np.maximum(h, 0), "tanh": np.tanh(h), "gelu": h * special.ndtr(h), "silu": h * special.expit(h),
        "sigmoid": special.expit(h), "leaky_relu": np.where(h > 0, h, 0.01 * h), "elu": np.where(h > 0, h, np.expm1(h)),
        "softplus": np.logaddexp(h, 0), "identity": h,
    }  # fmt: skip
    np.testing.assert_allclose(model(x).numpy(), closed[name] @ w1 + b1, rtol=1e-13)


def test_mlp_gradient_is_backpropagation_by_hand():
    sizes = [6, 9, 7, 3]
    model = nn.MLP(sizes, "tanh", seed=3, dtype="float64")
    x, y = rng.standard_normal((11, 6)), rng.standard_normal((11, 3))
    loss = nn.mse_loss(model(x), y)
    loss.backward()
    f = [x]
    weights, biases = ([p.numpy() for p in model.parameters()[k::2]] for k in (0, 1))
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = f[-1] @ w + b
        f.append(np.tanh(z) if i < 2 else z)
    np.testing.assert_allclose(loss.item(), ((f[-1] - y) ** 2).mean(), rtol=1e-14)
    delta = 2 * (f[-1] - y) / y.size
    for i in (2, 1, 0):
        np.testing.assert_allclose(model.layers[i].weight.grad.numpy(), f[i].T @ delta, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(model.layers[i].bias.grad.numpy(), delta.sum(0), rtol=1e-12, atol=1e-15)
        delta = (delta @ weights[i].T) * (1 - f[i] ** 2)


def test_seeds_repeat_and_differ():
    def first(seed):
        return nn.MLP([3, 4, 2], seed=seed).layers[0].weight.numpy()

    assert np.array_equal(first(1), first(1))
    assert np.array_equal(first(1), first(np.random.default_rng(1)))
    assert not np.array_equal(first(1), first(2))
    double = nn.MLP([3, 4, 2], seed=1, dtype="float64").layers[0].weight.numpy()
    assert np.array_equal(first(1), double.astype(np.float32))


@pytest.mark.parametrize("name", ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal"])
def test_initialisers_have_the_variance_they_promise(name):
    w = getattr(nn.init, name)((300, 200), seed=0, dtype="float64")
    variance = 2 / 300 if name.startswith("he") else 2 / 500
    assert abs(w.var() / variance - 1) < 0.02
    assert abs(w.mean()) < 3 * np.sqrt(variance / w.size)
    if name.endswith("uniform"):
        assert np.abs(w).max() <= np.sqrt(3 * variance)


def test_he_before_relu_and_glorot_elsewhere():
    def spread(model):
        return [float(np.abs(layer.weight.numpy()).max()) for layer in model.layers]

    he, last = spread(nn.MLP([200, 100, 50], "relu", seed=0))
    assert he == pytest.approx(np.sqrt(6 / 200), rel=0.01)
    assert last == pytest.approx(np.sqrt(6 / 150), rel=0.01)
    assert spread(nn.MLP([200, 100, 50], "tanh", seed=0))[0] == pytest.approx(np.sqrt(6 / 300), rel=0.01)


def test_dropout_keeps_the_mean_in_training_and_everything_in_evaluation():
    layer = nn.Dropout(0.25, seed=0)
    x = wg.tensor(np.ones((200, 200), np.float32), requires_grad=True)
    y = layer(x)
    values = np.unique(y.numpy())
    np.testing.assert_allclose(values, [0, 1 / 0.75], rtol=1e-6)
    assert abs(y.numpy().mean() - 1) < 0.02
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())
    assert not np.array_equal(layer(x).numpy(), y.numpy())
    assert np.array_equal(nn.Dropout(0.25, seed=0)(x).numpy(), y.numpy())
    assert np.array_equal(layer.eval()(x).numpy(), x.numpy())


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5)])
def test_batch_norm(shape):
    layer = nn.BatchNorm1d(4, dtype="float64")
    scale, shift = rng.standard_normal(4), rng.standard_normal(4)
    layer.weight.assign(scale)
    layer.bias.assign(shift)
    x = rng.standard_normal(shape) * 3 + 1
    over = (0,) if len(shape) == 2 else (0, 2)
    wide = (1, 4, 1)[: len(shape)]
    mean, variance = x.mean(over), x.var(over)
    closed = (x - mean.reshape(wide)) / np.sqrt(variance.reshape(wide) + 1e-5) * scale.reshape(wide)
    np.testing.assert_allclose(layer(x).numpy(), closed + shift.reshape(wide), rtol=1e-12)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * x.var(over, ddof=1), rtol=1e-12)
    layer.eval()
    evaluated = (x - layer.running_mean.numpy().reshape(wide)) / np.sqrt(layer.running_var.numpy().reshape(wide) + 1e-5)
    np.testing.assert_allclose(layer(x).numpy(), evaluated * scale.reshape(wide) + shift.reshape(wide), rtol=1e-12)
    wg.check_grads(layer.train(), (x,))


def test_batch_norm_refuses():
    layer = nn.BatchNorm1d(4)
    with raises(ValueError, "expected shape (batch, 4) or (batch, 4, length), got (2, 3)"):
        layer(np.ones((2, 3)))
    with raises(ValueError, "needs more than one value a feature in training, got shape (1, 4)"):
        layer(np.ones((1, 4)))
    assert np.array_equal(layer.running_mean.numpy(), np.zeros(4))


def test_layer_norm():
    layer = nn.LayerNorm((3, 4), dtype="float64")
    scale = rng.standard_normal((3, 4))
    layer.weight.assign(scale)
    x = rng.standard_normal((5, 3, 4)) * 3 + 1
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    np.testing.assert_allclose(layer(x).numpy(), (x - mean) / np.sqrt(variance + 1e-5) * scale, rtol=1e-12)
    wg.check_grads(layer, (x,))
    with raises(ValueError, "expected a shape that ends in (3, 4), got (4, 3)"):
        layer(np.ones((4, 3)))


@pytest.mark.parametrize("n", [2, 70])
def test_layer_norm_of_rows(n):
    """Short and long rows, beside a formula of elementary operations, derivatives and all."""

    def formula(x):
        d = x - wg.mean(x, -1, keepdims=True)
        return d / wg.sqrt(wg.mean(d * d, -1, keepdims=True) + 1e-5)

    layer = nn.LayerNorm(n, dtype="float64")
    x, v = rng.standard_normal((2, 3, n))
    np.testing.assert_allclose(layer(x).numpy(), formula(x).numpy(), rtol=1e-11, atol=1e-13)
    for order in (wg.jacobian, lambda f: wg.jacobian(wg.jacobian(lambda x: (f(x) * v).sum()))):
        got, want = order(layer)(x[:1]), order(formula)(x[:1])
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-8, atol=1e-8)
    wg.check_grads(layer, (x,))


# ---- Losses ----

X, Y = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
D = np.abs(X - Y)
LABELS = np.array([0, 3, 1, 2, 2, 0])
LOG_P = special.log_softmax(X, -1)
PROBABILITIES = special.softmax(Y, -1)
CLOSED = {
    "mse_loss": (nn.mse_loss, Y, (X - Y) ** 2),
    "l1_loss": (nn.l1_loss, Y, D),
    "huber_loss": (lambda *a, **k: nn.huber_loss(*a, 0.7, **k), Y, np.where(D <= 0.7, D * D / 2, 0.7 * (D - 0.35))),
    "labels": (nn.cross_entropy, LABELS, -LOG_P[range(6), LABELS]),
    "probabilities": (nn.cross_entropy, PROBABILITIES, -(PROBABILITIES * LOG_P).sum(-1)),
    "smoothed": (
        lambda *a, **k: nn.cross_entropy(*a, label_smoothing=0.1, **k),
        LABELS,
        -0.9 * LOG_P[range(6), LABELS] - 0.1 * LOG_P.mean(-1),
    ),
    "nll_loss": (nn.nll_loss, LABELS, -X[range(6), LABELS]),
    "binary": (
        nn.binary_cross_entropy_with_logits,
        PROBABILITIES,
        -PROBABILITIES * special.log_expit(X) - (1 - PROBABILITIES) * special.log_expit(-X),
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_losses_against_their_formulas(name):
    loss, target, closed = CLOSED[name]
    np.testing.assert_allclose(loss(X, target, reduction="none").numpy(), closed, rtol=1e-12)
    np.testing.assert_allclose(loss(X, target).item(), closed.mean(), rtol=1e-12)
    np.testing.assert_allclose(loss(X, target, reduction="sum").item(), closed.sum(), rtol=1e-12)
    assert loss(X.astype(np.float32), target).dtype == np.float32
    wg.check_grads(lambda x: loss(x, target), (X,))
    with raises(ValueError, "reduction must be 'mean', 'sum' or 'none', got 'all'"):
        loss(X, target, reduction="all")


def test_cross_entropy_at_the_edges():
    loss = nn.cross_entropy([[0.0, -np.inf], [1000.0, 0.0], [-1000.0, 0.0]], [0, 0, 0], reduction="none")
    assert loss.tolist() == [0, 0, 1000]
    assert nn.cross_entropy([[0.0, -np.inf]], [[1.0, 0.0]]).item() == 0
    assert nn.cross_entropy([[0.0, -np.inf]], [[0.5, 0.5]]).item() == np.inf
    assert nn.cross_entropy([[0.0, -np.inf]], [1]).item() == np.inf


def test_binary_cross_entropy_is_accurate_far_out():
    x = wg.tensor([800.0, -800.0, 40.0], requires_grad=True)
    loss = nn.binary_cross_entropy_with_logits(x, [True, False, True], reduction="none")
    np.testing.assert_allclose(loss.numpy(), [0, 0, np.exp(-40.0)], rtol=1e-12)
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, -np.exp(-40.0)], rtol=1e-12)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits"])
def test_losses_do_not_broadcast(name):
    loss = getattr(nn, name)
    with raises(ValueError, f"{name}: prediction of shape (4, 1) and target of shape (4,) differ"):
        loss(np.ones((4, 1)), np.ones(4))
    with raises(ValueError, "use target.reshape((4, 1))"):
        loss(np.ones((4, 1)), np.ones(4))
    with raises(ValueError, f"{name}: the batch is empty (shape (0, 3))"):
        loss(np.ones((0, 3)), np.ones((0, 3)))
    with raises(TypeError, f"{name}: the prediction must be float32 or float64, got int64"):
        loss(np.arange(3), np.ones(3))


@pytest.mark.parametrize("loss", [nn.cross_entropy, nn.nll_loss])
def test_labels_are_checked(loss):
    scores = np.zeros((3, 4))
    with raises(IndexError, "label 4 at position 2 is not in [0, 4)"):
        loss(scores, [0, 1, 4])
    with raises(IndexError, "label -1 at position 0 is not in [0, 4)"):
        loss(scores, [-1, 1, 2])
    with raises(TypeError, "labels must be integers, got float64; use labels.astype('int64')"):
        loss(scores, [0.0, 1.0, 2.0])
    with raises(ValueError, "scores of shape (3, 4) need labels of shape (3,), got (3, 1)"):
        loss(scores, [[0], [1], [2]])
    with raises(ValueError, "the batch is empty (shape (0, 4))"):
        loss(np.zeros((0, 4)), np.zeros(0, np.int64))
    with raises(ValueError, "scores need an axis of classes"):
        loss(1.0, 0)


def test_smoothing_and_delta_are_checked():
    with raises(ValueError, "label_smoothing must be in [0, 1], got 2"):
        nn.cross_entropy(X, LABELS, label_smoothing=2)
    with raises(ValueError, "delta must be positive, got 0"):
        nn.huber_loss(X, Y, delta=0)


# ---- Together ----


@pytest.mark.parametrize(
    "model",
    [
        nn.MLP([2, 16, 2], seed=0),
        nn.MLP([2, 16, 2], "silu", dropout=0.1, seed=0),
        nn.Sequential(nn.Linear(2, 16, seed=0), nn.BatchNorm1d(16), wg.relu, nn.Linear(16, 2, seed=1)),
        nn.Sequential(nn.Linear(2, 16, seed=0), nn.LayerNorm(16), wg.tanh, nn.Linear(16, 2, seed=1)),
    ],
    ids=["mlp", "dropout", "batch norm", "layer norm"],
)
def test_networks_learn_xor(model):
    x = np.random.default_rng(1).uniform(-1, 1, (200, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    opt = wg.optim.Adam(model.parameters(), lr=0.03)
    first = nn.cross_entropy(model(x), y).item()
    for _ in range(150):
        opt.zero_grad()
        loss = nn.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    model.eval()
    assert loss.item() < first / 3
    assert (wg.argmax(model(x), axis=1).numpy() == y).mean() > 0.95


# ---- States of another layout ----


def torch_state(model):
    """The state as PyTorch would have it: weights of Linear turned."""
    return {k: a.T.copy() if a.ndim == 2 else a for k, a in model.state_dict().items()}


@pytest.mark.parametrize("sizes", [[3, 3], [2, 2, 2], [2, 2, 5], [4, 3, 3, 1]])
def test_the_layout_of_a_state_is_known_or_asked_for(sizes):
    source, model = (wg.nn.MLP(sizes, seed=seed) for seed in (0, 1))
    x = np.random.default_rng(0).standard_normal((4, sizes[0]))
    before, foreign, square = model.state_dict(), torch_state(source), len(set(sizes)) == 1

    def works(state, **how):
        model.load_state_dict(state, **how)
        same = np.array_equal(model(x).numpy(), source(x).numpy())
        model.load_state_dict(before)
        return same

    assert works(source.state_dict())  # marked by its type
    assert works(dict(source.state_dict()), layout="wengert") and works(foreign, layout="torch")
    unmarked = "is square, so its shape does not tell" if square else "say layout='torch'"
    with pytest.raises(ValueError, match=unmarked):
        model.load_state_dict(foreign)
    if square:
        with pytest.raises(ValueError, match=unmarked):
            model.load_state_dict(dict(source.state_dict()))
    else:
        assert works(dict(source.state_dict()))  # a weight that is not square tells
    with pytest.raises(ValueError, match="layout must be 'wengert' or 'torch', got 'jax'"):
        model.load_state_dict(foreign, layout="jax")
    assert all(np.array_equal(a, before[k]) for k, a in model.state_dict().items())


def test_a_saved_state_keeps_its_mark(tmp_path):
    model, path = wg.nn.Linear(3, 3, seed=0), tmp_path / "m.safetensors"
    wg.save(path, model.state_dict(), {"note": "x"})
    state, metadata = wg.load(path, with_metadata=True)
    assert metadata == {"note": "x"}
    wg.nn.Linear(3, 3).load_state_dict(state)
    wg.nn.Linear(3, 3).load_state_dict(copy.deepcopy(model.state_dict()))
    wg.save(path, dict(model.state_dict()))
    with pytest.raises(ValueError, match="say layout="):
        wg.nn.Linear(3, 3).load_state_dict(wg.load(path))


def test_values_of_torch_are_never_taken_for_ours():
    class Value:  # as PyTorch's tensors look from here
        __module__ = "torch"

        def __init__(self, a):
            self.a = a

        def __array__(self, dtype=None, copy=None):
            return self.a

    Value.__module__ = "torch"
    model = wg.nn.Linear(2, 2, seed=0)
    state = type(model.state_dict())({k: Value(a) for k, a in torch_state(model).items()})
    with pytest.raises(ValueError, match="weight is square"):
        model.load_state_dict(state)
    expected = model.weight.tolist()
    model.load_state_dict(state, layout="torch")
    assert model.weight.tolist() == expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("width", [1, 3, 17])
def test_fit_takes_the_rows_of_each_batch_whatever_their_type(dtype, width):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((23, 2)), (rng.uniform(-2, 2, (23, width)) * 3).astype(dtype)

    def loss(out, batch_y):
        return (out.sum() * wg.where(batch_y != 0, batch_y, -1.0).sum(axis=0) * np.arange(1.0, width + 1)).mean()

    def trained(train):
        model = wg.nn.MLP([2, width], dtype="float64", seed=0)
        return train(model, wg.optim.SGD(model.parameters(), lr=1e-3))

    def by_hand(model, optimizer):
        means, order = [], np.random.default_rng(5)
        for _ in range(2):
            rows, total = order.permutation(23), 0.0
            for at in np.split(rows, [8, 16]):
                optimizer.zero_grad()
                value = loss(model(x[at]), wg.tensor(y[at]))
                value.backward()
                optimizer.step()
                total += value.item() * len(at)
            means.append(total / 23)
        return means

    got = trained(lambda model, opt: wg.nn.fit(model, x, y, loss, opt, batch_size=8, epochs=2, seed=5))
    assert got == pytest.approx(trained(by_hand), rel=1e-12)
