"""Nothing public leaks: each program below runs many rounds and leaves as much behind as it found.

Counted are the blocks of the engine's allocator, those of Python's, and the bytes of the C library's, all exactly, so
that a few dozen rounds find what a round leaves. What a program keeps on purpose (caches, free lists) it has after the
first rounds. Rounds that make cycles of Python objects are followed by a collection, as anybody's are.
"""

import contextlib
import copy
import ctypes
import gc
import pickle
import sys
import threading

import numpy as np
import pytest

import wengert as wg
from wengert import _core

DATA = np.linspace(0.1, 0.9, 6).reshape(2, 3)


def leaf(data=DATA):
    return wg.tensor(data, requires_grad=True)


class _Mallinfo(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


def malloc_bytes():
    """In use by the C library's allocator, where that can tell."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    mallinfo.restype = _Mallinfo
    now = mallinfo()
    return now.uordblks + now.hblkhd


def in_use():
    gc.collect()
    return np.array([_core.memory_use()[2], sys.getallocatedblocks(), malloc_bytes(), _core.tape_length()])


def check(program, rounds=100):
    """Fails if each round leaves blocks of the engine, blocks of Python, bytes of malloc, or nodes on the tape."""
    program()
    # Python's own bookkeeping moves by a few dozen blocks, malloc's by some thousand bytes, whatever the rounds.
    limits = np.array([0.0, 0.75, 8 + 4096 / rounds, 0.0])
    left = np.full(4, np.inf)
    for _ in range(6):  # the first may fill caches, and other threads of the process may disturb one or the other
        before = in_use()
        for _ in range(rounds):
            program()
        left = np.minimum(left, (in_use() - before) / rounds)
        if (left <= limits).all():
            return
    raise AssertionError(f"each round leaves {left} (engine blocks, Python blocks, malloc bytes, nodes)")


PROGRAMS = {}


def program(f):
    PROGRAMS[f.__name__] = f
    return f


# --- gradients that are recorded ---------------------------------------------------------------------------------
@program
def create_graph():
    x = leaf()
    wg.tanh(x).sum().backward(create_graph=True)


@program
def create_graph_of_create_graph():
    x = leaf()
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    (g * x).sum().backward(create_graph=True)
    x.grad.sum().backward(create_graph=True)


@program
def several_leaves_in_one_graph():
    x, w, b = leaf(), leaf(DATA.T), leaf(np.ones(2))
    wg.sum(wg.tanh(x @ w + b) ** 2).backward(create_graph=True)
    (x.grad.sum() * w.grad.sum() + b.grad.sum()).backward(create_graph=True)


@program
def the_gradient_outlives_the_leaf():
    x = leaf()
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    del x
    np.testing.assert_allclose(g, 3 * DATA**2)
    (g * g).sum().backward(create_graph=True)


@program
def a_gradient_that_was_set():
    x, w = leaf(), leaf()
    x.grad = wg.sin(x) * w
    w.grad = x.grad * x
    x.grad.sum().backward(create_graph=True)


@program
def leaves_as_gradients():
    x, w, v = leaf(), leaf(), leaf()
    x.grad = x
    w.grad, v.grad = v, w
    v.grad.grad = w


@program
def requires_grad_that_changes():
    x = wg.tensor(DATA)
    w = leaf()
    y = w * x
    x.requires_grad = True
    (y * x).sum().backward(create_graph=True)
    x.requires_grad = False
    w.requires_grad = False


@program
def modules_with_recorded_gradients():
    model = wg.nn.MLP([3, 4, 1])
    (model(DATA) ** 2).sum().backward(create_graph=True)
    penalty = sum((p.grad**2).sum() for p in model.parameters())
    penalty.backward(create_graph=True)


# --- tapes, transforms, recordings ---------------------------------------------------------------------------------
@program
def visible_tape():
    with wg.Tape() as tape:
        x = leaf()
        y = wg.sum(wg.sin(x) * 2.0)
        y.backward(create_graph=True)
    str(tape)
    tape.explain(x)


@program
def visible_tape_left_by_an_exception():
    with contextlib.suppress(ZeroDivisionError), wg.Tape():
        wg.tanh(leaf()).sum().backward(create_graph=True)
        1 / 0  # noqa: B018


def f(x):
    return wg.sum(wg.sin(x) * wg.exp(x) + x[0, 1] * 2.5)


TRANSFORMS = {
    "grad": lambda f, x: wg.grad(f)(x),
    "grad of grad": lambda f, x: wg.grad(lambda x: wg.sum(wg.grad(f)(x)))(x),
    "vjp": lambda f, x: wg.vjp(f, x)[1](1.0),
    "jvp": lambda f, x: wg.jvp(f, (x,), (x,)),
    "linearize": lambda f, x: wg.linearize(f, x)[1](x),
    "hvp": lambda f, x: wg.hvp(f, x, x),
    "hessian": lambda f, x: wg.hessian(f)(x),
    "forward jacobian": lambda f, x: wg.jacobian(f, mode="fwd")(x),
    "reverse jacobian": lambda f, x: wg.jacobian(f, mode="rev")(x),
    "taylor": lambda f, x: wg.taylor(f, x, 3),
    "compile": lambda f, x: wg.compile(f)(np.asarray(x)),
    "compile twice": lambda f, x: [g(np.asarray(x)) for g in [wg.compile(wg.grad(f))] for _ in range(2)],
    "nested compile": lambda f, x: wg.compile(lambda x: wg.compile(f)(x) * 2.0)(np.asarray(x)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    w = leaf()
    for function in (f, lambda x: f(x * w)):
        check(lambda function=function: TRANSFORMS[name](function, wg.tensor(DATA)), 30)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_a_function_that_raises(name):
    def broken(x):
        wg.tanh(leaf() * x).sum().backward(create_graph=True) if name[:4] != "nest" else None
        wg.sin(x).no_such_attribute  # noqa: B018

    def attempt():
        with contextlib.suppress(AttributeError):
            TRANSFORMS[name](broken, wg.tensor(DATA))

    check(attempt, 30)


@pytest.mark.parametrize("op", _core.op_table, ids=lambda op: op["name"])
def test_every_elementwise_function(op):
    function = getattr(_core, op["name"])
    args = [wg.tensor(np.linspace(low, high, 5)[1:-1]) for low, high in op["domain"]]

    def use():
        function(*args)
        if not op["differentiable"]:
            return
        leaves = [leaf(a) for a in args]
        function(*leaves).sum().backward(create_graph=True)
        slopes = sum((x.grad * x).sum() * 1.5 for x in leaves)
        slopes.backward(create_graph=True)
        wg.jvp(function, tuple(args), tuple(args))

    check(use, 20)


@program
def compiled_step():
    w = leaf()

    @wg.compile
    def step(x):
        loss = wg.sum((x - w) ** 2)
        loss.backward()
        g, w.grad = w.grad, None
        w.assign(w - 0.1 * g)
        return loss

    step(DATA), step(DATA)


@program
def compiled_with_a_gradient_left_behind():
    w = leaf()

    @wg.compile
    def step(x):
        loss = wg.sum(wg.tanh(x * w))
        loss.backward(create_graph=True)
        return loss

    step(DATA), step(DATA), step(DATA)


# --- rules that raise -----------------------------------------------------------------------------------------------
@program
def primitive_called():
    cube = wg.primitive(lambda x: x**3)
    cube.defvjp(lambda g, y, x: 3 * x**2 * g)
    x = leaf()
    cube(x).sum().backward(create_graph=True)
    x.grad.sum().backward()
    wg.hessian(lambda x: cube(x).sum())(DATA)


@program
def primitive_of_several_results():
    split = wg.primitive(lambda x: (x[0], x[1] * 2))
    split.defjvp(lambda t, y, x: (t[0], t[1] * 2))
    wg.grad(lambda x: sum(y.sum() for y in split(x)))(DATA)
    wg.jvp(split, (DATA,), (DATA,))


@program
def primitive_whose_rules_raise():
    broken = wg.primitive(lambda x: x + 1)
    broken.defvjp(lambda g, y, x: 1 / 0)
    broken.defjvp(lambda t, y, x: 1 / 0)
    x = leaf()
    for attempt in (
        lambda: (broken(x) * x).sum().backward(create_graph=True),
        lambda: wg.jvp(broken, (DATA,), (DATA,)),
        lambda: wg.compile(wg.grad(lambda x: broken(x).sum()))(DATA),
    ):
        with contextlib.suppress(ZeroDivisionError):
            attempt()


@program
def sweep_that_is_refused():
    a = np.ones(3)
    x, w = leaf(np.arange(3.0)), leaf(np.ones(3))
    y = wg.sum(wg.exp(x) * (w * wg.asarray(a)) * x[0])
    a[0] = 2.0
    with contextlib.suppress(RuntimeError):
        y.backward(create_graph=True)


@program
def operations_that_are_refused():
    x = leaf()
    for attempt in (
        lambda: x + np.ones(7),
        lambda: x @ x,
        lambda: wg.concat([x, x[0]]),
        lambda: x.reshape(5),
        lambda: x[5],
        lambda: (x + 1).assign(x),
        lambda: x.backward(),
        lambda: wg.tensor("text"),
        lambda: wg.gather(x, 0.5) if hasattr(wg, "gather") else wg.take(x, 0.5),
    ):
        with contextlib.suppress(ValueError, TypeError, RuntimeError, IndexError):
            attempt()


# --- operations on parts and numbers --------------------------------------------------------------------------------
@program
def parts_of_an_array():
    x = leaf()
    y = x[0] * x[1, ::-1] + wg.concat([x[:, :2], x[:, 2:]], 1).sum(0) + wg.take(x, [0, 1, 0], axis=0).sum(0)
    (y * sum(wg.unstack(x))).sum().backward(create_graph=True)
    x.grad.sum().backward(create_graph=True)


@program
def numbers():
    x = leaf()
    (wg.where(x > 0.5, 2.0, x) * 2.0 - 1 + x**1.5 + np.float64(3.0) * x).sum().backward(create_graph=True)
    (x.grad * 0.5).sum().backward()


# --- models, optimizers, files --------------------------------------------------------------------------------------
@program
def models_and_copies():
    model = wg.nn.MLP([3, 4, 1])
    twin = copy.deepcopy(model)
    twin.load_state_dict(model.state_dict())
    (twin(DATA) ** 2).sum().backward()


@program
def optimizers():
    p = leaf()
    for make in (wg.optim.SGD, wg.optim.Adam, wg.optim.AdamW):
        optimizer = make([p], lr=0.1)
        wg.optim.StepLR(optimizer, every=1, gamma=0.5).step()
        (p * p).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.load_state_dict(optimizer.state_dict())


def test_fit():
    def fit():
        model = wg.nn.MLP([3, 4, 1])
        wg.nn.fit(
            model, DATA, np.ones((2, 1)), wg.nn.mse_loss, wg.optim.Adam(model.parameters()), epochs=2, batch_size=1
        )

    check(fit, 10)


def test_files(tmp_path):
    def save_and_load():
        wg.save(str(tmp_path / "a.safetensors"), {"w": wg.tensor(DATA), "b": leaf()})
        wg.load(str(tmp_path / "a.safetensors"))
        with contextlib.suppress(FileNotFoundError):
            wg.load(str(tmp_path / "none"))

    check(save_and_load, 50)


@program
def pickles():
    pickle.loads(pickle.dumps([leaf(), wg.tensor(DATA), wg.tensor(3.0)]))


# --- threads and cycles ---------------------------------------------------------------------------------------------
@program
def threads_that_start_and_end():
    def work():
        x = leaf()
        wg.tanh(x).sum().backward(create_graph=True)
        wg.compile(wg.grad(f))(DATA)
        kept.append(x * 2.0)

    kept = []
    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


@program
def views_of_a_tensor():
    x = leaf()
    a, b = x.numpy(), wg.asarray(np.ones(4))
    x.assign(2 * DATA)
    np.asarray(b + 1.0)
    del x, a, b


class Holder:
    pass


@program
def tensors_in_cycles_of_objects():
    holder = Holder()
    holder.x, holder.self = leaf(), holder
    holder.loss = lambda: (holder.x**2).sum()
    holder.loss().backward(create_graph=True)
    holder.y = [holder.x.grad * 2.0, holder]


@program
def results_of_a_primitive_that_refers_to_them():
    holder = Holder()
    holder.op = wg.primitive(lambda x: x * holder.factor)
    holder.factor = 2.0
    holder.result = holder.op(wg.tensor(DATA))


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    check(PROGRAMS[name], 10 if "thread" in name else 50)


def test_a_leak_is_found():
    kept = []
    with pytest.raises(AssertionError, match="each round leaves"):
        check(lambda: kept.append(wg.tensor(1.0)))


# --- what one thread allocates and another frees --------------------------------------------------------------------
def test_blocks_that_another_thread_frees_are_used_again():
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    ready, done = threading.Semaphore(0), threading.Semaphore(0)
    handed = []

    def free():
        while True:
            ready.acquire()
            stop = not handed
            handed.clear()
            done.release()
            if stop:
                return

    thread = threading.Thread(target=free)
    thread.start()
    sizes = []
    for _ in range(40):
        handed.extend(wg.tensor(1.0) for _ in range(5000))
        ready.release()
        done.acquire()
        sizes.append(resident())
    ready.release()
    thread.join()
    assert sizes[-1] - sizes[9] < 5e6, "the blocks stay with the thread that freed them"


# --- size of a node -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "step",
    [
        lambda y, k: y * 1.0000001,
        lambda y, k: k - y,
        lambda y, k: y**k,
        lambda y, k: wg.maximum(k, y),
        lambda y, k: y / 2,
        lambda y, k: -y,
        lambda y, k: y * np.float64(k) if y.dtype == np.float64 else y * float(k),
    ],
)
def test_an_operation_with_a_number_is_one_node(dtype, step):
    y = leaf(np.array(1.0, dtype))
    chain, before = [y], _core.memory_use()[2]
    for k in range(100):
        chain.append(step(chain[-1], 1.0 + k * 1e-6))
    assert _core.memory_use()[2] - before == 200  # a node (144 bytes with two operands) and its number (32)


# --- many operands --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [65_535, 65_537, 100_000])
def test_any_number_of_operands(n):
    x = leaf(2.0)
    wg.stack([x] * n).sum().backward()
    assert x.grad.item() == n
    x.grad = None
    wg.concat([x.reshape(1)] * n).sum().backward(create_graph=True)
    assert x.grad.item() == n
    assert wg.jvp(lambda x: wg.stack([x] * n).sum(), (2.0,), (1.0,))[1].item() == n


def test_a_compiled_step_of_eleven_thousand_parameters():
    n = 11_000
    start = np.linspace(-1, 1, n)
    results = []
    for compiled in (False, True):
        parameters = [leaf(v) for v in start]
        optimizer = wg.optim.Adam(parameters, lr=0.1)

        def step(parameters=parameters, optimizer=optimizer):
            loss = (wg.stack(parameters) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = wg.compile(step) if compiled else step
        losses = [run().item() for _ in range(3)]
        results.append([losses, [p.item() for p in parameters]])
    assert results[0] == results[1]
