"""Networks and their training steps in every library: forward, loss, backward, optimizer.

Every contender is made from a Net, so it starts from the same weights and sees the same batch; called, it takes one
step and returns the loss before it.
"""

import itertools
import math
import shutil

import numpy as np

import wengert as wg

from .timing import COMPILED, OURS, optional

LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8  # Adam
SGD_LR, MOMENTUM = 1e-2, 0.9


class Net:
    """A case: widths of the layers, weights and one batch. Aim: how many times faster than the fastest peer."""

    def __init__(self, sizes, activation, loss, batch, optimizer="adam", aim=None, label=None):
        self.sizes, self.activation, self.loss, self.batch = sizes, activation, loss, batch
        self.optimizer, self.aim = optimizer, aim
        self.name = f"{label or '-'.join(map(str, sizes))} {activation}, {loss}, {batch}"
        if optimizer != "adam":
            self.name += f", {optimizer}"

    def fill(self):
        """Makes weights, inputs x and targets y."""
        rng = np.random.default_rng(0)
        self.weights = []
        for n, m in itertools.pairwise(self.sizes):
            self.weights += [(rng.standard_normal((n, m)) / math.sqrt(n)).astype(np.float32), np.zeros(m, np.float32)]
        self.x = rng.standard_normal((self.batch, self.sizes[0]), dtype=np.float32)
        if self.loss == "ce":
            self.y = rng.integers(0, self.sizes[-1], self.batch)
        else:
            self.y = rng.standard_normal((self.batch, self.sizes[-1]), dtype=np.float32)
        return self

    def copies(self):
        return [w.copy() for w in self.weights]

    def flops(self):
        """Of a step: forward and weight gradients, and input gradients of all layers but the first."""
        products = [2 * self.batch * n * m for n, m in itertools.pairwise(self.sizes)]
        return 3 * sum(products) - products[0]

    def parameters(self):
        return sum(n * m + m for n, m in itertools.pairwise(self.sizes))

    def optimizer_bytes(self):
        """What an update moves at the least: reads the moments, p and g being hot, and writes moments and p."""
        return (20 if self.optimizer == "adam" else 12) * self.parameters()

    def large(self):
        """Too large for contenders that take seconds."""
        return self.flops() > 1e10


NETS = [
    Net([4, 64, 64, 2], "tanh", "mse", 32, aim=3.5),
    Net([30, 128, 128, 1], "relu", "mse", 128, aim=1.8),
    Net([784, 128, 10], "relu", "ce", 64, aim=1.4),
    Net([784, 512, 512, 10], "relu", "ce", 256, aim=1.15),
    Net([1024, 2048, 2048, 1000], "relu", "ce", 512, aim=1.15),
]
DEEP = [16, *[32] * 8, 1]
OTHERS = [
    Net(DEEP, "tanh", "mse", 32, aim=1.7, label="16-32x8-1"),
    Net(DEEP, "gelu", "mse", 32, aim=1.7, label="16-32x8-1"),
    Net([8, 64, 4], "relu", "mse", 16, aim=4),
    Net([8, 64, 4], "tanh", "ce", 16, "sgd", aim=4),
    Net([30, 128, 128, 1], "gelu", "mse", 128),
    Net([784, 128, 10], "relu", "ce", 64, "sgd"),
]


# --- Wengert ---------------------------------------------------------------------------------------------------


def wengert_model(net):
    model = wg.nn.MLP(net.sizes, net.activation)
    for p, w in zip(model.parameters(), net.weights, strict=True):
        p.assign(w)
    return model


def wengert_step(net):
    model = wengert_model(net)
    if net.optimizer == "adam":
        opt = wg.optim.Adam(model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS)
    else:
        opt = wg.optim.SGD(model.parameters(), lr=SGD_LR, momentum=MOMENTUM)
    loss_of = wg.nn.mse_loss if net.loss == "mse" else wg.nn.cross_entropy

    def step(x, y):
        opt.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def wengert_eager(net):
    step, x, y = wengert_step(net), wg.tensor(net.x), wg.tensor(net.y)
    return lambda: step(x, y).item()


def wengert_compiled(net):
    step, x, y = wg.compile(wengert_step(net)), wg.tensor(net.x), wg.tensor(net.y)
    return lambda: step(x, y).item()


# --- NumPy -----------------------------------------------------------------------------------------------------


def numpy_optimizer(net, params):
    """Updates NumPy arrays in place: also for libraries that have no optimizer."""
    first, second, t = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params], 0

    def adam(grads):
        nonlocal t
        t += 1
        rate, eps = LR * math.sqrt(1 - BETA2**t) / (1 - BETA1**t), EPS * math.sqrt(1 - BETA2**t)
        for p, g, m, v in zip(params, grads, first, second, strict=True):
            m *= BETA1
            m += (1 - BETA1) * g
            v *= BETA2
            v += (1 - BETA2) * g * g
            p -= rate * m / (np.sqrt(v) + eps)

    def sgd(grads):
        for p, g, v in zip(params, grads, first, strict=True):
            v *= MOMENTUM
            v += g
            p -= SGD_LR * v

    return adam if net.optimizer == "adam" else sgd


def numpy_activation(name):
    """(f(z), its derivative from z and y = f(z)). There is no erf in NumPy."""
    if name == "tanh":
        return np.tanh, lambda z, y: 1 - y * y
    if name == "relu":
        return lambda z: np.maximum(z, 0), lambda z, y: y > 0
    from scipy.special import erf

    half, root, scale = np.float32(0.5), np.float32(math.sqrt(0.5)), np.float32(1 / math.sqrt(2 * math.pi))

    def cdf(z):
        return half + half * erf(z * root)

    return lambda z: z * cdf(z), lambda z, y: cdf(z) + z * (scale * np.exp(-half * z * z))


def numpy_by_hand(net):
    params, rows = net.copies(), np.arange(net.batch)
    update, (activation, slope) = numpy_optimizer(net, params), numpy_activation(net.activation)

    def step():
        inputs, sums, f = [], [], net.x
        for i in range(0, len(params), 2):
            inputs.append(f)
            f = f @ params[i]
            f += params[i + 1]
            if i + 2 < len(params):
                sums.append(f)
                f = activation(f)
        if net.loss == "mse":
            d = f - net.y
            loss = np.mean(d * d)
            g = d * np.float32(2 / d.size)
        else:
            shifted = f - f.max(axis=1, keepdims=True)
            e = np.exp(shifted)
            total = e.sum(axis=1, keepdims=True)
            loss = np.mean(np.log(total[:, 0]) - shifted[rows, net.y])
            g = e / total
            g[rows, net.y] -= 1
            g *= np.float32(1 / net.batch)
        grads = [None] * len(params)
        for i in range(len(params) - 2, -1, -2):
            grads[i], grads[i + 1] = inputs[i // 2].T @ g, g.sum(axis=0)
            if i:
                g = g @ params[i].T
                g *= slope(sums[i // 2 - 1], inputs[i // 2])
        update(grads)
        return loss

    return step


# --- libraries that differentiate code written with NumPy's names ----------------------------------------------


def loss_in(np_like, activation, net, params, x, y, pick):
    f = x
    for i in range(0, len(params), 2):
        f = np_like.matmul(f, params[i]) + params[i + 1]
        if i + 2 < len(params):
            f = activation(f)
    if net.loss == "mse":
        return np_like.mean((f - y) ** 2)
    shifted = f - np_like.max(f, axis=1, keepdims=True)
    return np_like.mean(np_like.log(np_like.sum(np_like.exp(shifted), axis=1)) - pick(shifted))


def activation_in(np_like, name):
    return np_like.tanh if name == "tanh" else lambda z: np_like.maximum(z, 0)


def jax_update(net):
    """A step as a pure function: (params, mean, square, t, x, y) to (loss, params, mean, square)."""
    import jax
    import jax.numpy as jnp

    rows = jnp.arange(net.batch)
    activation = {"tanh": jnp.tanh, "relu": jax.nn.relu, "gelu": lambda z: jax.nn.gelu(z, approximate=False)}
    adam = net.optimizer == "adam"

    def update(params, mean, square, t, x, y):
        f = activation[net.activation]
        loss, grads = jax.value_and_grad(lambda p: loss_in(jnp, f, net, p, x, y, lambda s: s[rows, y]))(params)
        if not adam:
            mean = [MOMENTUM * v + g for v, g in zip(mean, grads, strict=True)]
            return loss, [p - SGD_LR * v for p, v in zip(params, mean, strict=True)], mean, square
        first, second = -jnp.expm1(t * math.log(BETA1)), -jnp.expm1(t * math.log(BETA2))  # 1 - beta^t without rounding
        rate, eps = LR * jnp.sqrt(second) / first, EPS * jnp.sqrt(second)
        mean = [BETA1 * m + (1 - BETA1) * g for m, g in zip(mean, grads, strict=True)]
        square = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(square, grads, strict=True)]
        steps = zip(params, mean, square, strict=True)
        return loss, [p - rate * m / (jnp.sqrt(v) + eps) for p, m, v in steps], mean, square

    return update


def jax_state(net):
    """(params, mean, square), as a step begins with them."""
    import jax.numpy as jnp

    params = [jnp.array(w) for w in net.weights]
    return params, [jnp.zeros_like(p) for p in params], [jnp.zeros_like(p) for p in params if net.optimizer == "adam"]


def jax_jit(net):
    import jax

    update = jax.jit(jax_update(net), donate_argnums=(0, 1, 2))
    x, y, t = jax.numpy.asarray(net.x), jax.numpy.asarray(net.y), 0
    params, mean, square = jax_state(net)

    def step():
        nonlocal params, mean, square, t
        t += 1
        loss, params, mean, square = update(params, mean, square, np.float32(t), x, y)
        jax.block_until_ready(params)
        return float(loss)

    return step


def autograd(net):
    import autograd.numpy as anp
    from autograd import value_and_grad

    rows, params, f = np.arange(net.batch), net.copies(), activation_in(anp, net.activation)
    update = numpy_optimizer(net, params)
    gradient = value_and_grad(lambda p: loss_in(anp, f, net, p, net.x, net.y, lambda s: s[rows, net.y]))

    def step():
        loss, grads = gradient(params)
        update(grads)
        return loss

    return step


def mygrad(net):
    import mygrad as mg

    rows, params, f = np.arange(net.batch), [mg.tensor(w) for w in net.copies()], activation_in(mg, net.activation)
    update = numpy_optimizer(net, [p.data for p in params])

    def step():
        loss = loss_in(mg, f, net, params, net.x, net.y, lambda s: s[rows, net.y])
        loss.backward()
        update([p.grad for p in params])
        return loss.item()

    return step


# --- PyTorch and scikit-learn ----------------------------------------------------------------------------------


def torch_model(net):
    torch = optional("torch")
    activation = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "gelu": torch.nn.GELU}[net.activation]
    layers = []
    for i, w in enumerate(net.weights[::2]):
        linear = torch.nn.Linear(*w.shape)
        linear.weight.data, linear.bias.data = torch.tensor(w.T.copy()), torch.tensor(net.weights[2 * i + 1])
        layers += [linear, activation()]
    return torch.nn.Sequential(*layers[:-1])


def pytorch(net, compiler=lambda f: f):
    torch = optional("torch")
    model = torch_model(net)
    if net.optimizer == "adam":
        opt = torch.optim.Adam(model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True)
    else:
        opt = torch.optim.SGD(model.parameters(), lr=SGD_LR, momentum=MOMENTUM, fused=True)
    loss_of = torch.nn.functional.mse_loss if net.loss == "mse" else torch.nn.functional.cross_entropy
    forward = compiler(lambda x, y: loss_of(model(x), y))
    x, y = torch.tensor(net.x), torch.tensor(net.y)

    def step():
        opt.zero_grad()
        loss = forward(x, y)
        loss.backward()
        opt.step()
        return loss.item()

    return step


def torch_compile(net):
    """Forward and backward pass by its compiler; the fused optimizer is native code already."""
    torch = optional("torch")
    torch.compiler.reset()
    return pytorch(net, torch.compile)


def scikit_learn(net):
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    kind = MLPRegressor if net.loss == "mse" else MLPClassifier
    model = kind(
        hidden_layer_sizes=net.sizes[1:-1],
        activation=net.activation,
        alpha=0,
        batch_size=net.batch,
        shuffle=False,
        solver=net.optimizer,
    )
    y = net.y.ravel() if net.sizes[-1] == 1 else net.y
    classes = {} if net.loss == "mse" else {"classes": np.arange(net.sizes[-1])}
    model.partial_fit(net.x, y, **classes)  # makes the arrays, which then take our weights
    model.coefs_[:], model.intercepts_[:] = net.copies()[::2], net.copies()[1::2]
    params = model.coefs_ + model.intercepts_
    if net.optimizer == "adam":
        model._optimizer = AdamOptimizer(params, LR, BETA1, BETA2, EPS)
    else:
        model._optimizer = SGDOptimizer(params, SGD_LR, "constant", MOMENTUM, nesterov=False)

    def step():
        model.partial_fit(net.x, y)
        return model.loss_ * (2 if net.loss == "mse" else 1)  # it halves squares

    return step


def contenders(net):
    """Makers of steps by name: of what is installed, knows the activation, and is not hopeless at this size."""
    gelu, small = net.activation == "gelu", not net.large()
    candidates = {
        OURS: (True, wengert_eager),
        COMPILED: (True, wengert_compiled),
        "NumPy by hand": (not gelu or optional("scipy"), numpy_by_hand),
        "PyTorch": (optional("torch"), pytorch),
        "torch.compile": (small and optional("torch") and shutil.which("g++"), torch_compile),
        "JAX jit": (optional("jax"), jax_jit),
        "autograd": (small and not gelu and optional("autograd"), autograd),
        "MyGrad": (small and not gelu and optional("mygrad"), mygrad),
        "scikit-learn": (small and not gelu and optional("sklearn"), scikit_learn),
    }
    return {name: make for name, (takes_part, make) in candidates.items() if takes_part}
