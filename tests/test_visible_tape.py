"""The tape made visible: the list, names, adjoints, the chain rule spelled out, drawings."""

from __future__ import annotations

import itertools
import re
import threading
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import wengert as wg
from wengert import _core, _drawing


def worked_example():
    """DESIGN 2.5 at x = 0.5."""
    x = wg.tensor(0.5, requires_grad=True)
    with wg.Tape() as tape:
        a = x**2
        b = wg.exp(a)
        c = a + b
        d = wg.sqrt(c)
        e = wg.cos(c)
        f = d + e
    f.backward()
    return tape, x, c


def random_program(seed, steps=40):
    """Numbers, products, functions, reuse: every intermediate result may be used again."""
    rng = np.random.default_rng(seed)
    x = [wg.tensor(v, requires_grad=True) for v in rng.uniform(0.5, 1.5, 3)]
    with wg.Tape() as tape:
        results = list(x)
        for _ in range(steps):
            a, b = (results[i] for i in rng.integers(max(0, len(results) - 8), len(results), 2))
            operation = rng.integers(6)
            if operation == 0:
                r = wg.sin(a)
            elif operation == 1:
                r = wg.tanh(a) * 1.5
            elif operation == 2:
                r = a + b
            elif operation == 3:
                r = wg.cos(a) * b
            elif operation == 4:
                r = 2 - a / (1 + b**2)
            else:
                r = a * a
            results.append(wg.tanh(r) + 0.1)
        total = results[-1] + results[-2] * results[-3] + x[0] + x[1] + x[2]
    return tape, x, total


# --- the list ----------------------------------------------------------------------------------------------------
def test_the_worked_example_reads_as_on_the_blackboard():
    tape, *_ = worked_example()
    assert str(tape) == "\n".join(
        [
            "#  name  operation  inputs  shape    value  adjoint",
            "0  x     input              ()         0.5    −1.36",
            "1  a     x²         0       ()        0.25    −1.36",
            "2  b     exp(a)     1       ()       1.284  −0.5956",
            "3  c     a + b      1, 2    ()       1.534  −0.5956",
            "4  d     √c         3       ()       1.239        1",
            "5  e     cos c      3       ()     0.03676        1",
            "6  f     d + e      4, 5    ()       1.275        1",
        ]
    )
    assert [str(e) for e in tape] == ["x", "a = x²", "b = exp(a)", "c = a + b", "d = √c", "e = cos c", "f = d + e"]


def test_without_a_backward_there_are_no_adjoints():
    x = wg.tensor(2.0, requires_grad=True)
    with wg.Tape() as tape:
        y = x * 3.0
    assert "adjoint" not in str(tape) and tape[-1].adjoint is None
    with pytest.raises(RuntimeError, match="no backward"):
        tape.explain(y)


def test_entries_are_found_by_number_name_and_tensor():
    tape, _, c = worked_example()
    e = tape["c"]
    assert (e.index, e.name, e.op, e.inputs, e.shape, e.dtype) == (3, "c", "add", (1, 2), (), np.float64)
    assert e == tape[3] == tape[c] == tape[-4]
    assert [e.name for e in tape[1:3]] == ["a", "b"]
    assert len(tape) == 7 and len(list(tape)) == 7
    assert float(e.value) == 0.25 + np.exp(0.25)
    with pytest.raises(IndexError):
        tape[7]
    with pytest.raises(KeyError, match="nothing on this tape is called 'z'"):
        tape["z"]
    with pytest.raises(KeyError, match="not on the tape"):
        tape[wg.tensor(1.0)]


def test_it_records_what_needs_no_gradient():
    with wg.Tape() as tape:
        y = wg.exp(wg.tensor([0.0, 1.0])) + 1
    assert [str(e) for e in tape] == ["k0", "v0 = exp(k0)", "y = v0 + 1"]
    assert not y.requires_grad


# --- names ---------------------------------------------------------------------------------------------------------
def test_names_come_from_the_tensor_then_the_variable():
    x = wg.tensor(1.0, requires_grad=True)
    weights = {"w": wg.tensor(2.0, requires_grad=True)}
    with wg.Tape() as tape:
        hidden = weights["w"] * x
        hidden.name = "z"
        v0 = wg.exp(hidden)
        y = v0 * (hidden + 1)
        parts = [y - 1, y - 2]  # noqa: F841
    assert [e.name for e in tape] == ["weights['w']", "x", "z", "v0", "v1", "y", "parts[0]", "parts[1]"]


def test_two_tensors_of_one_name_are_told_apart():
    a = wg.tensor(1.0, requires_grad=True)
    b = wg.tensor(2.0, requires_grad=True)
    a.name = b.name = "w"
    with wg.Tape() as tape:
        y = a * b
    assert [str(e) for e in tape] == ["w", "w_2", "y = w·w_2"]
    assert tape[y].inputs == (0, 1)


GLOBAL = wg.tensor(3.0, requires_grad=True)


def test_global_variables_have_names_too():
    with wg.Tape() as tape:
        y = GLOBAL**3
    assert [str(e) for e in tape] == ["GLOBAL", "y = GLOBAL³"]
    assert tape["y"].value == y.item()


def test_within_the_block_the_tape_can_be_read_already():
    x = wg.tensor(1.0, requires_grad=True)
    with wg.Tape() as tape:
        y = wg.sin(x)
        assert str(tape[-1]) == "y = sin x"
        z = y + x
    assert tape[-1].value == z.item()


# --- formulas ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("program", "formula"),
    [
        (lambda x, W, v: x - -1.5, "x − (−1.5)"),
        (lambda x, W, v: 2 * x, "2·x"),
        (lambda x, W, v: x**-3, "x⁻³"),
        (lambda x, W, v: x**0.5, "x^0.5"),
        (lambda x, W, v: abs(x), "|x|"),
        (lambda x, W, v: -x, "−x"),
        (lambda x, W, v: W @ v, "W @ v"),
        (lambda x, W, v: W.T, "Wᵀ"),
        (lambda x, W, v: W.sum(axis=0), "sum(W, axis=0)"),
        (lambda x, W, v: W.max(), "max(W)"),
        (lambda x, W, v: W[1], "W[1]"),
        (lambda x, W, v: W[0:1], "W[0:1]"),
        (lambda x, W, v: W[:, ::2], "W[:, ::2]"),
        (lambda x, W, v: W[::-1, 1:], "W[::-1, 1:]"),
        (lambda x, W, v: W.reshape(6), "reshape(W, (6,))"),
        (lambda x, W, v: wg.maximum(x, 0.0), "maximum(x, 0)"),
    ],
)
def test_formulas(program, formula):
    x = wg.tensor(2.0, requires_grad=True)
    W = wg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    v = wg.tensor([1.0, 2.0, 3.0])
    with wg.Tape() as tape:
        y = program(x, W, v)
    assert tape[y].formula == formula


def test_a_transform_shows_its_argument_as_an_input():
    x = wg.tensor(3.0)
    with wg.Tape() as tape:
        wg.grad(lambda t: t**2 + 1)(x)
    assert [str(e) for e in tape] == ["x", "v0 = x²", "v1 = v0 + 1"]
    assert tape["x"].op == "input" and tape["x"].adjoint == 6.0


def test_a_number_that_a_transform_is_given_is_an_input_too():
    with wg.Tape() as tape:
        wg.grad(lambda t: t**2 + 1)(3.0)
    assert [str(e) for e in tape] == ["x0", "v0 = x0²", "v1 = v0 + 1"]
    assert tape["x0"].op == "input" and tape["x0"].adjoint == 6.0


def test_nested_transforms_stay_connected():
    x = wg.tensor(3.0)
    with wg.Tape() as tape:
        wg.grad(wg.grad(lambda t: t**3))(x)
    assert [str(e) for e in tape][:3] == ["x", "v0 = x", "v1 = v0³"]
    assert tape["v1"].inputs == (1,) and tape["x"].adjoint == 18.0


# --- adjoints ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(5))
def test_adjoints_are_the_gradients(seed):
    tape, x, total = random_program(seed)
    total.backward()
    for leaf in x:
        assert float(tape[leaf].adjoint) == leaf.grad.item()


def test_adjoints_of_intermediate_results_are_final_sums():
    tape, x, c = worked_example()
    at = tape[c].value
    assert tape[c].adjoint == pytest.approx(1 / (2 * np.sqrt(at)) - np.sin(at), rel=1e-15)
    assert tape["a"].adjoint == pytest.approx(tape[c].adjoint * (1 + np.exp(0.25)), rel=1e-15)
    assert tape[x].adjoint == x.grad.item()


def test_each_backward_leaves_its_own_adjoints_and_the_list_does_not_grow():
    x = wg.tensor(3.0, requires_grad=True)
    with wg.Tape() as tape:
        y = x * x
        z = wg.exp(x)
    y.backward()
    y.backward()
    assert tape["x"].adjoint == 6.0 and x.grad.item() == 12.0
    z.backward()
    assert tape["x"].adjoint == np.exp(3.0) and tape["y"].adjoint is None
    assert len(tape) == 3


def test_a_differentiable_sweep_is_listed():
    x = wg.tensor(3.0, requires_grad=True)
    with wg.Tape() as tape:
        y = x**3
    y.backward(create_graph=True)
    assert len(tape) > 2
    assert tape["y"].adjoint == 1.0


def test_broadcast_adjoints_have_the_shape_of_the_entry():
    W = wg.tensor(np.ones((2, 3)), requires_grad=True)
    with wg.Tape() as tape:
        y = wg.exp(W)
        s = y.sum()
    s.backward()
    assert tape[y].adjoint.shape == (2, 3) and tape[W].adjoint.shape == (2, 3)


# --- explain -------------------------------------------------------------------------------------------------------
def test_the_chain_rule_of_the_worked_example_is_a_sum():
    tape, x, c = worked_example()
    assert tape.explain(c) == (
        "∂f/∂c = ∂f/∂d·∂d/∂c + ∂f/∂e·∂e/∂c = 1·0.4037 + 1·(−0.9993) = −0.5956\n"
        "  d = √c     ∂d/∂c = 1/(2√c) = 0.4037\n"
        "  e = cos c  ∂e/∂c = −sin c = −0.9993"
    )
    assert tape.explain("c", digits=2).splitlines()[0] == ("∂f/∂c = ∂f/∂d·∂d/∂c + ∂f/∂e·∂e/∂c = 1·0.4 + 1·(−1) = −0.6")
    assert tape.explain(x).splitlines()[0] == "∂f/∂x = ∂f/∂a·∂a/∂x = −1.36·1 = −1.36"
    assert tape.explain("f") == "∂f/∂f = 1, where the backward began"


@pytest.mark.parametrize("seed", range(5))
def test_explained_sums_are_the_adjoints(seed):
    tape, _, total = random_program(seed)
    total.backward()
    explained = 0
    for e in tape:
        if e.adjoint is None or e.name == "total":
            continue
        first = tape.explain(e.index, digits=17).splitlines()[0].replace("−", "-")
        _, terms, result = first.split(" = ", 2)[0], first.split(" = ")[2], first.split(" = ")[3]
        products = [[float(factor.strip("()")) for factor in term.split("·")] for term in terms.split(" + ")]
        assert sum(a * b for a, b in products) == pytest.approx(float(e.adjoint), rel=1e-12, abs=1e-300)
        assert float(result) == float(e.adjoint)
        explained += 1
    assert explained > 20


def test_contributions_of_arrays_add_up():
    rng = np.random.default_rng(0)
    W = wg.tensor(rng.standard_normal((3, 3)), requires_grad=True)
    with wg.Tape() as tape:
        h = wg.tanh(W @ W.T)
        f = (h * h @ W).sum() + h[0].max() + wg.logsumexp(h, axis=1).sum()
    f.backward()
    g = {e.index: e.adjoint for e in tape}
    for e in tape:
        users = [u for u in tape if e.index in u.inputs]
        if not users:
            continue
        total = np.zeros(e.shape)
        for u in users:
            place = u.inputs.index(e.index)
            node = tape._list().lines[u.index].computed
            terms = _core.contributions(node, wg.tensor(g[u.index].reshape(node.shape)))
            total += terms[place].numpy().reshape(e.shape)
        np.testing.assert_allclose(total, e.adjoint, rtol=1e-12, err_msg=str(e))
    text = tape.explain(h)
    assert text.startswith("∂f/∂h, of shape (3, 3):\n") and len(text.splitlines()) == 5
    assert "g·h + g·h" in text and "the sum" in text


def test_explain_of_arrays_names_formula_cotangent_and_norm():
    W = wg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with wg.Tape() as tape:
        y = W @ [1.0, 1.0]
        f = (y * y).sum() + W.sum()
    f.backward()
    assert tape.explain(W) == (
        "∂f/∂W, of shape (2, 2):\n"
        "  y       = W @ k0  g @ k0ᵀ                          with g = ∂f/∂y   gives [[6, 6], [14, 14]]\n"
        "  v2      = sum(W)  g, copied along the summed axes  with g = ∂f/∂v2  gives [[1, 1], [1, 1]]\n"
        "  the sum                                                                is [[7, 7], [15, 15]]"
    )


def test_explain_tells_why_there_is_nothing_to_explain():
    x = wg.tensor(1.0, requires_grad=True)
    k = wg.tensor([2.0, 3.0])
    with wg.Tape() as tape:
        y = (x * k).sum()
        z = x + 1
    y.backward()
    assert tape.explain(z) == "∂y/∂z = 0: nothing leads from z to y"
    with pytest.raises(ValueError, match="k does not require a gradient"):
        tape.explain(k)


def test_a_leaf_changed_since_is_told():
    w = wg.tensor(2.0, requires_grad=True)
    with wg.Tape() as tape:
        y = w * w
    y.backward()
    w.assign(3.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        tape.explain(w)


def test_explaining_changes_nothing():
    tape, x, c = worked_example()
    before = str(tape), x.grad.item(), len(tape)
    tape.explain(c)
    assert (str(tape), x.grad.item(), len(tape)) == before


# --- scopes and errors ---------------------------------------------------------------------------------------------
def test_nested_tapes_record_their_own():
    x = wg.tensor(2.0, requires_grad=True)
    with wg.Tape() as outer:
        a = x + 1
        with wg.Tape() as inner:
            b = x * 2
        c = a * 3
        with pytest.raises(RuntimeError, match="another tape"):
            a + b
    assert [e.name for e in outer] == ["x", "a", "c"] and [e.name for e in inner] == ["x", "b"]
    assert c.item() == 9.0


def test_an_exception_gives_the_thread_its_tape_back():
    before = _core.tape_length()
    x = wg.tensor(2.0, requires_grad=True)
    with pytest.raises(ZeroDivisionError), wg.Tape() as tape:
        y = x * x  # noqa: F841
        raise ZeroDivisionError
    assert [e.name for e in tape] == ["x", "y"]
    z = x * 3
    assert _core.tape_length() == before + 1
    assert len(tape) == 2 and z.item() == 6.0


def test_a_tape_is_entered_once_at_a_time_and_may_go_on():
    x = wg.tensor(2.0, requires_grad=True)
    tape = wg.Tape()
    with tape:
        y = x * x
        with pytest.raises(RuntimeError, match="already being recorded"), tape:
            pass
        z = y + 1
    assert [e.name for e in tape] == ["x", "y", "z"]
    with tape:
        w = z * y
    assert [e.name for e in tape] == ["x", "y", "z", "w"] and tape[w].inputs == (2, 1)


def test_other_threads_are_not_recorded():
    x = wg.tensor(2.0, requires_grad=True)
    with wg.Tape() as tape:
        thread = threading.Thread(target=lambda: wg.exp(x))
        thread.start()
        thread.join()
    assert len(tape) == 0 and str(tape).startswith("#  name")


def test_a_tape_gives_its_memory_back():
    x = wg.tensor(np.ones(100_000), requires_grad=True)
    before = _core.memory_use()[0]
    for _ in range(3):
        with wg.Tape() as tape:
            y = wg.exp(x) * x
        y.backward(np.ones(100_000), create_graph=True)
        x.grad = None
        del tape, y
    assert _core.memory_use()[0] - before < 100_000


# --- drawings ------------------------------------------------------------------------------------------------------
SVG = "{http://www.w3.org/2000/svg}"


def boxes_of(svg):
    rects = ET.fromstring(svg).iter(SVG + "rect")
    return [tuple(float(r.get(k)) for k in ("x", "y", "width", "height")) for r in rects]


def test_the_drawing_of_the_worked_example():
    tape, *_ = worked_example()
    root = ET.fromstring(tape.to_svg())
    assert root.tag == SVG + "svg" and tape._repr_svg_() == tape.to_svg()
    texts = [t.text for t in root.iter(SVG + "text")]
    assert {"x", "a = x²", "f = d + e", "1.275", "adjoint −0.5956"} <= set(texts)
    arrows = [p for p in root.iter(SVG + "path") if p.get("marker-end")]
    assert len(arrows) == 8
    assert len(boxes_of(tape.to_svg())) == 7


def test_results_stand_below_their_operands():
    tape, *_ = worked_example()
    g = tape._graph(None)
    _drawing.lay_out(g)
    assert all(g.boxes[a].y + g.boxes[a].height / 2 < g.boxes[b].y - g.boxes[b].height / 2 for a, b in g.edges)


@pytest.mark.parametrize("seed", range(3))
def test_two_hundred_boxes_do_not_overlap(seed):
    tape, _, total = random_program(seed, steps=70)
    total.backward()
    svg = tape.to_svg()
    boxes = boxes_of(svg)
    assert len(boxes) == len(tape) > 200
    width, height = (float(ET.fromstring(svg).get(k)) for k in ("width", "height"))
    for x, y, w, h in boxes:
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    assert width < 4000 and height < 20000


def test_ordering_removes_crossings():
    """Two chains whose second layers start out swapped."""
    g = _drawing.Graph([_drawing.Box("leaf", ["x"]) for _ in range(6)], [(0, 3), (1, 2), (2, 5), (3, 4)])
    layers = _drawing._layers(g)
    _drawing._order(layers, rounds=0)
    assert _drawing._crossings(layers) == 2
    _drawing._order(layers)
    assert _drawing._crossings(layers) == 0


def test_dot_lists_boxes_and_arrows():
    tape, *_ = worked_example()
    dot = tape.to_dot()
    assert dot.startswith("digraph tape {") and dot.rstrip().endswith("}")
    assert len(re.findall(r"^  n\d+ \[label=\"", dot, re.M)) == 7
    assert len(re.findall(r"^  n\d+ -> n\d+;", dot, re.M)) == 8
    assert 'n3 [label="c = a + b\\n1.534\\nadjoint −0.5956"' in dot


def test_texts_are_escaped():
    x = wg.tensor(1.0, requires_grad=True)
    x.name = 'a<b & "c"'
    with wg.Tape() as tape:
        wg.exp(x)
    assert 'a<b & "c"' in [t.text for t in ET.fromstring(tape.to_svg()).iter(SVG + "text")]
    assert '\\"c\\"' in tape.to_dot()


def test_a_network_is_folded_by_its_modules():
    model = wg.nn.MLP([4, 8, 8, 3], activation="tanh", seed=0)
    with wg.Tape() as tape:
        out = model(np.ones((5, 4), np.float32))
        loss = (out * out).sum()
    loss.backward()
    assert {e.path for e in tape} == {"", "MLP", "MLP.layers.0", "MLP.layers.1", "MLP.layers.2"}
    assert tape["layers.1.weight"].adjoint is not None

    def titles(fold):
        return [b.lines[0] for b in tape._graph(fold).boxes]

    assert titles(2) == ["k0", "MLP.layers.0", "v2 = tanh(v1)", "MLP.layers.1", "v5 = tanh(v4)", "MLP.layers.2",
                         "v7 = out·out", "loss = sum(v7)"]  # fmt: skip
    assert titles(1) == ["k0", "MLP", "v7 = out·out", "loss = sum(v7)"]
    assert titles(0) == titles(None) == [str(e) for e in tape]
    deep = wg.nn.Sequential(*(wg.nn.Linear(4, 4, seed=0) for _ in range(20)))
    with wg.Tape() as tape:
        deep(np.ones((5, 4), np.float32))
    assert titles(None)[1:] == [f"Sequential.{i}" for i in range(20)]


def test_an_empty_tape_can_be_drawn():
    with wg.Tape() as tape:
        pass
    assert boxes_of(tape.to_svg()) == [] and "->" not in tape.to_dot()
