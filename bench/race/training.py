"""``train``: training steps, and what goes with them: the limit, the first call, memory, two threads, inference."""

import sys

import numpy as np

import wengert as wg

from . import CORES, child, nets
from .tables import Table, at_least, at_most, bars, best, number, race
from .timing import COMPILED, OURS, alternate, bound, clock, copy_rate, optional, peak


def train(args):
    """Compiled and eager training steps beside every peer; first the nets of the aims, then others."""
    for key, title, group in (("train", "training step, µs", nets.NETS), ("others", "other nets, µs", nets.OTHERS)):
        chosen = [net for net in group if args.only in net.name]
        times, differ = {}, {}
        for net in chosen:
            contenders = {name: make(net.fill()) for name, make in nets.contenders(net).items()}
            differ[net.name] = compare_losses(net, contenders)
            times[net.name] = row = alternate(contenders, args.repeats)
            print(f"{net.name}: {best(row)[0] * 1e6:.4g} µs", file=sys.stderr)
        if times:
            race(key, title, times, note=agreement(chosen, differ))
            limits(f"{key}-limit", chosen, times, args)
        if key == "train" and times:
            slower = {case: {n: t / best(row)[0] for n, t in row.items()} for case, row in times.items()}
            bars("train.svg", "Training step", "time / the faster of ours", slower, log=True)
            first_calls(chosen, args)
            memory(chosen)
            threads(chosen[-2:], args)
    inference(args)


def step_aims(net, row):
    """Of the compiled step beside the fastest peer; on the first two nets also of the eager one beside PyTorch's."""
    _, peer = best(row)
    aims = [at_least(peer / row[COMPILED], net.aim, " peer")] if net.aim and peer else []
    if net in nets.NETS[:2] and "PyTorch" in row:  # eager against eager
        aims.append(at_least(row["PyTorch"] / row[OURS], (8, 2.5)[nets.NETS.index(net)], " PyTorch, eager"))
    return aims


def compare_losses(net, contenders):
    """Runs everybody for 4 and 100 steps (a large net: 10); contenders whose losses differ by more than 1e-5."""
    last = 10 if net.large() else 100
    losses = {name: np.array([float(step()) for _ in range(last + 1)]) for name, step in contenders.items()}
    reference = losses.get("NumPy by hand", losses[OURS])
    differ = {}
    for name, got in losses.items():
        after = [4, last]
        off = float(np.max(np.abs(got - reference)[after] / np.maximum(1, np.abs(reference[after]))))
        if not off <= 1e-3:
            sys.exit(f"{net.name}: losses of {name} after 4 and {last} steps {got[after]}, expected {reference[after]}")
        if off > 1e-5:
            differ[name] = off
    return differ


def agreement(chosen, differ):
    """A sentence on losses."""
    large = ["-".join(map(str, net.sizes)) for net in chosen if net.large()]
    text = "Losses after 4 and after 100 steps"
    text += f" (4 and 10 for {', '.join(large)})" if large else ""
    text += " agree to 1e-5 of the larger of 1 and the loss"
    off = {
        name: max(d.get(name, 0) for d in differ.values())
        for name in dict.fromkeys(n for d in differ.values() for n in d)
    }
    return text + (f", except {', '.join(f'{n} ({d:.0e})' for n, d in off.items())}." if off else ".")


def limits(key, chosen, times, args):
    """The compiled step beside what arithmetic and memory allow, and all aims of a step."""
    rate, source = peak(args.bench_kernels)
    copied = copy_rate()
    columns = ["FLOP floor, µs", "optimizer bytes, µs", "ours, µs", "ours / (1.12 limit + 5 µs)", "aim"]
    note = f"Peak {rate / 1e9:.0f} GFLOP/s ({source}); a copy in main memory moves {copied / 1e9:.1f} GB/s."
    table = Table(key, "limit of a step", columns, note)
    for net in chosen:
        floor, move = net.flops() / rate, net.optimizer_bytes() / copied
        ours = times[net.name][COMPILED]
        share = ours / (1.12 * (floor + move) + 5e-6)
        cells = [number(t * 1e6) for t in (floor, move, ours)]
        aims = [("≤ 1.12 limit + 5 µs", share <= 1), *step_aims(net, times[net.name])]
        table.add(net.name, [*cells, f"{share:.2f}"], aims)
    table.show()


def first_calls(chosen, args):
    """What recording and planning cost: the first compiled call beyond a first eager step, both of fresh models."""
    jax, repeats = optional("jax"), 5
    columns = [COMPILED, *(["JAX jit"] if jax else []), "aim"]
    note = f"The least of {repeats} first calls less the least of {repeats} first eager steps (JAX: less a later call)."
    table = Table("first-call", "first call beyond an eager step, ms", columns, note)
    for net in chosen:
        eager, compiled = (
            min(clock(make(net)) for _ in range(repeats)) for make in (nets.wengert_eager, nets.wengert_compiled)
        )
        extra = [(compiled - eager) * 1e3]
        if jax:
            step = nets.jax_jit(net)
            extra.append((clock(step) - clock(step)) * 1e3)
        table.add(net.name, [number(ms) for ms in extra], [at_most(extra[0], 5, " ms")])
    table.show()


def memory(chosen):
    names = [COMPILED, *(n for n, m in {"PyTorch": "torch", "JAX jit": "jax"}.items() if optional(m))]
    note = (
        "Most memory of a process that makes the model and runs five steps, beyond the imported library and the data."
    )
    table = Table("memory", "peak memory of a step, MB", [*names, "aim"], note)
    for net in chosen:
        used = {name: child.ask("memory", name, nets.NETS.index(net))[0] for name in names}
        peers = [size for name, size in used.items() if name != COMPILED]
        aims = [("≤ every peer", used[COMPILED] <= min(peers))] if peers else []
        table.add(net.name, [f"{size / 1e6:.1f}" for size in used.values()], aims)
    table.show()


def threads(chosen, args):
    if len(CORES) < 2:
        return
    table = Table("threads", "compiled step, ms", ["one thread", "two threads", "one / two", "aim"])
    for net in chosen:
        one, two = child.ask("threads", nets.NETS.index(net), args.repeats, *sorted(CORES))
        aims = [at_least(one / two, 1.8)] if net in nets.NETS[-2:] else []
        table.add(net.name, [number(one * 1e3), number(two * 1e3), f"{one / two:.2f}×"], aims)
    table.show()


def inference(args):
    """The outputs of one row, and of a batch, from arrays of each library to arrays of it."""
    times, aims = {}, {}
    for sizes, activation in (([4, 64, 64, 2], "tanh"), ([784, 512, 512, 10], "relu")):
        for batch, aim in ((1, 5), (256, 1.2)):
            net = nets.Net(sizes, activation, "ce", batch).fill()
            case = f"{'-'.join(map(str, sizes))} {activation}, {batch} row{'s' * (batch > 1)}"
            if args.only not in case:
                continue
            contenders = predictors(net)
            outputs = {name: np.asarray(f()) for name, f in contenders.items()}
            for name, y in outputs.items():
                if not np.allclose(y, outputs["NumPy by hand"], rtol=1e-4, atol=1e-4):
                    sys.exit(f"{case}: the outputs of {name} differ from those of NumPy by hand")
            times[case] = alternate(contenders, args.repeats)
            aims[case] = [at_least(best(times[case])[1] / times[case][COMPILED], aim)]
    if times:
        race("inference", "inference, µs", times, aims=aims)


def predictors(net):
    model, x, params = nets.wengert_model(net), wg.tensor(net.x), net.weights
    activation, _ = nets.numpy_activation(net.activation)

    def eager(x):
        with wg.no_grad():
            return model(x)

    def by_hand():
        f = net.x
        for i in range(0, len(params), 2):
            f = f @ params[i]
            f += params[i + 1]
            if i + 2 < len(params):
                f = activation(f)
        return f

    contenders = {OURS: bound(eager, x), COMPILED: bound(wg.compile(eager), x), "NumPy by hand": by_hand}
    if torch := optional("torch"):
        network, tx = nets.torch_model(net), torch.tensor(net.x)
        contenders["PyTorch"] = torch.inference_mode()(lambda: network(tx))
    if jax := optional("jax"):

        @jax.jit
        def forward(params, f):
            for i in range(0, len(params), 2):
                f = f @ params[i] + params[i + 1]
                f = (jax.numpy.tanh if net.activation == "tanh" else jax.nn.relu)(f) if i + 2 < len(params) else f
            return f

        weights, jx = [jax.numpy.asarray(w) for w in params], jax.numpy.asarray(net.x)
        contenders["JAX jit"] = lambda: forward(weights, jx).block_until_ready()
    return contenders
