"""The command line as a user meets it: good runs and their files, bad input and its message, Ctrl-C."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import wengert as wg
from wengert import cli
from wengert.cli import data, model, report
from wengert.cli import train as training

FILES = ["curves.png", "metrics.json", "model.safetensors"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, header, rows):
    with open(name, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return name


def flowers(n=60, name="flowers.csv"):
    """Classes that a number and a text decide: blue ones are "b", others by the sign of x."""
    rng = np.random.default_rng(0)
    rows = []
    for x in rng.standard_normal(n):
        colour = rng.choice(["red", "blue"])
        rows.append([f"{x:.3f}", colour, "b" if colour == "blue" else "p" if x > 0 else "n"])
    return write(name, ["x", "colour", "kind"], rows)


def line(n=80, name="line.csv"):
    x = np.random.default_rng(0).uniform(0, 10, (n, 2))
    return write(name, ["a", "b", "y"], np.column_stack([x, 1000 + 3 * x[:, 0] - x[:, 1]]).tolist())


def read_metrics(folder):
    return json.loads(Path(folder, "metrics.json").read_text())


def run(*arguments):
    """The exit code of the command."""
    try:
        return cli.main([str(a) for a in arguments])
    except SystemExit as left:  # by argparse
        return left.code


def refused(capsys, *arguments):
    """The message of a command that must fail with code 2, say one thing, and leave no file behind."""
    before = sorted(os.listdir())
    assert run(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    first, *reasons = told.err.splitlines()
    assert first.startswith("wengert: error: ") and all(line.startswith("  - ") for line in reasons)
    assert not reasons or first == f"wengert: error: for {len(reasons)} reasons:"
    assert sorted(os.listdir()) == before
    return told.err


# ---- Good runs ----


def test_digits_from_the_shell_to_the_files():
    done = subprocess.run([sys.executable, "-m", "wengert", "train", "digits"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "digits: 1797 rows (1439 for training, 179 for validation, 179 for test)" in done.stdout
    assert "epoch" in done.stderr and "validation" in done.stderr  # the progress bar
    assert sorted(os.listdir("wengert-digits")) == FILES
    metrics = read_metrics("wengert-digits")
    assert metrics["test"]["accuracy"] >= 0.97
    assert f"held-out accuracy  {metrics['test']['accuracy']:.4f}" in done.stdout
    assert len(metrics["history"]) == metrics["best_epoch"] + 20
    assert Path("wengert-digits/curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_table_with_text_is_learned_and_predicted(capsys):
    assert run("train", flowers(), "--target", "kind", "--out", "out", "--lr", "0.01") == 0
    assert "predicting 'kind', 3 classes, from 2 columns" in capsys.readouterr().out
    metrics = read_metrics("out")
    assert metrics["classes"] == ["b", "n", "p"]
    assert metrics["test"]["accuracy"] >= 0.75
    write("new.csv", ["colour", "comment", "x"], [["blue", "-", "1"], ["red", "-", "2"], ["red", "-", "-2"]])
    assert run("predict", "out", "new.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "kind,probability"
    assert [text.split(",")[0] for text in lines[1:]] == ["b", "p", "n"]
    assert run("predict", "out/model.safetensors", "new.csv", "--out", "predicted.csv") == 0
    assert Path("predicted.csv").read_text().splitlines() == lines


def test_a_quantity_is_regressed_in_its_own_unit(capsys):
    assert run("train", line(), "--target", "y", "--out", "out", "--lr", "0.01") == 0
    assert "a quantity, from 2 columns" in capsys.readouterr().out
    metrics = read_metrics("out")
    assert metrics["task"] == "regression"
    assert metrics["test"]["r2"] > 0.95
    write("new.csv", ["a", "b"], [[5, 5], [1, 9]])
    assert run("predict", "out", "new.csv") == 0
    header, *values = capsys.readouterr().out.splitlines()
    assert header == "y"
    np.testing.assert_allclose([float(v) for v in values], [1010, 994], atol=4)


def test_a_seed_repeats_a_run_and_another_does_not():
    table = flowers()
    for folder, seed in (("one", 1), ("same", 1), ("other", 2)):
        assert run("train", table, "--target", "kind", "--epochs", 3, "--seed", seed, "--out", folder) == 0
    states = {f: model.load_model(f).state_dict() for f in ("one", "same", "other")}
    assert all(np.array_equal(a, states["same"][k]) for k, a in states["one"].items())
    assert not np.array_equal(states["one"]["mlp.layers.0.weight"], states["other"]["mlp.layers.0.weight"])


def test_the_best_weights_are_kept_not_the_last(monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    seen = []
    monkeypatch.setattr(
        training.nn, "mse_loss", lambda x, y: wg.tensor(next(losses)) if len(x) == 8 else wg.nn.losses.mse_loss(x, y)
    )
    outputs = model.TableModel.outputs

    def remember(self, x):
        seen.append(self.state_dict())
        return outputs(self, x)

    monkeypatch.setattr(model.TableModel, "outputs", remember)
    assert run("train", line(), "--target", "y", "--patience", 3, "--batch-size", 64, "--out", "out") == 0
    metrics = read_metrics("out")
    assert metrics["best_epoch"] == 2
    assert metrics["ended"] == "no better validation loss for 3 epochs"
    kept = model.load_model("out").state_dict()
    assert all(np.array_equal(kept[name], a) for name, a in seen[1].items())
    assert not np.array_equal(kept["mlp.layers.0.weight"], seen[4]["mlp.layers.0.weight"])


@pytest.mark.parametrize("name", data.BUILT_IN)
def test_every_built_in_set_trains(name):
    assert run("train", name, "--epochs", 2, "--hidden", "8", "--out", "out") == 0
    assert sorted(os.listdir("out")) == FILES
    assert run("predict", "out", name, "--out", "predicted.csv") == 0


# ---- Ctrl-C ----


def test_ctrl_c_keeps_the_best_weights_so_far(monkeypatch, capsys):
    score, epochs = report.score, iter(range(1, 100))

    def press_ctrl_c_in_epoch_3(outputs, target):
        if next(epochs) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return score(outputs, target)

    monkeypatch.setattr(report, "score", press_ctrl_c_in_epoch_3)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        assert run("train", "digits", "--hidden", 8) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert "interrupted; kept the weights of epoch 2 of 2" in told.out
    assert sorted(os.listdir("wengert-digits")) == FILES
    assert read_metrics("wengert-digits")["ended"] == "interrupted"
    assert model.load_model("wengert-digits").mlp.sizes == (64, 8, 10)


def start(*arguments, head="", tail="", **environment):
    """The command in a shell, so that its streams can be what a shell makes of them; SIGINT is not ignored."""
    command = " ".join(map(str, (head, sys.executable, "-m", "wengert", *arguments, tail)))
    return subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def end(process):
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err and "Exception ignored" not in err, err
    return process.returncode, out, err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_any_number_of_signals_at_any_time_lose_nothing(number, code):
    train = start("train", "digits", "--hidden", 8, "--epochs", 100000, "--patience", 100000, head="exec")
    assert "MLP" in [train.stdout.readline() for _ in range(3)][2]
    time.sleep(1.5)  # some epochs
    for _ in range(30):  # while it trains, while it writes, while it draws
        train.send_signal(number)
        time.sleep(0.02)
        if train.poll() is not None:
            break
    returned, out, _ = end(train)
    assert returned == code
    assert "interrupted; kept the weights of epoch" in out
    assert sorted(os.listdir("wengert-digits")) == FILES
    assert model.load_model("wengert-digits").mlp.sizes == (64, 8, 10)


@pytest.mark.parametrize("moment", ["summary", "_curves"])
def test_a_signal_while_the_report_is_made_waits(monkeypatch, capsys, moment):
    original = getattr(report, moment)

    def press_ctrl_c(results):
        assert os.path.exists("out/model.safetensors")  # the model is there before anything is said about it
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        return original(results)

    monkeypatch.setattr(report, moment, press_ctrl_c)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run("train", flowers(), "--target", "kind", "--epochs", 2, "--out", "out") == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(os.listdir("out")) == FILES


def test_a_report_that_fails_leaves_the_model(monkeypatch, capsys):
    def fail(results):
        raise ValueError("no ink")

    monkeypatch.setattr(report, "_curves", fail)
    assert run("train", flowers(), "--target", "kind", "--epochs", 2, "--out", "out") == 2
    assert "the model is in out/model.safetensors, but there is no report on it: no ink" in capsys.readouterr().err
    assert run("predict", "out", "flowers.csv") == 0


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        ("| head -1; exit ${PIPESTATUS[0]}", 0),  # has seen enough
        ("2>/dev/full", 0),
        (">&- 2>&- <&-", 0),
        ("> /dev/full 2>&1", 2),  # the report is lost
    ],
)
def test_streams_that_fail_cost_no_model(tail, code):
    table = line(name="größe.csv")
    assert end(start("train", table, "--target", "y", "--epochs", 2, "--out", "out", tail=tail))[0] == code
    assert sorted(os.listdir("out")) == FILES
    assert end(start("predict", "out", table, tail=tail))[0] == code
    assert end(start("predict", "out", table, "--out", "p.csv", tail=tail))[0] == 0
    assert len(Path("p.csv").read_text().splitlines()) == 81


def test_a_full_standard_output_is_named():
    assert "standard output: [Errno 28]" in end(start("train", "iris", "--epochs", 1, tail="> /dev/full"))[2]


def test_a_terminal_without_accents():
    table = write("t.csv", ["größe", "farbe"], [[i % 7, "grün" if i % 7 > 3 else "weiß"] for i in range(60)])
    for target in ("größe", "farbe"):
        options = ("--task", "regression") if target == "größe" else ()
        train = start("train", table, "--target", target, "--out", "out", *options, PYTHONIOENCODING="ascii")
        code, out, _ = end(train)
        assert code == 0 and "wrote out/curves.png" in out and out.isascii()
    code, out, _ = end(start("predict", "out", table, PYTHONIOENCODING="ascii", head="LC_ALL=C.UTF-8"))
    assert code == 0 and set(out.splitlines()[1:]) and "grün," in out  # data stay as they are


def test_ctrl_c_before_the_first_epoch_writes_nothing(monkeypatch, capsys):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(wg.optim.AdamW, "step", interrupt)
    assert run("train", flowers(), "--target", "kind") == 130
    assert "interrupted before there was anything to keep" in capsys.readouterr().err
    assert os.listdir() == ["flowers.csv"]


# ---- Bad input ----


def test_files_that_are_no_tables(capsys):
    assert "nothing.csv does not exist; give a CSV file or one of the built-in sets digits" in refused(
        capsys, "train", "nothing.csv", "--target", "y"
    )
    os.mkdir("folder")
    assert "folder is a folder, not a file" in refused(capsys, "train", "folder", "--target", "y")
    for content, message in [
        (b"", "bad.csv is empty; the first line must name the columns"),
        (b"\n \n", "bad.csv is empty"),
        (b'""\n', "bad.csv is empty"),
        (b",\n", "bad.csv has two columns called ''"),
        (b"a,b\n,\n" + b"1,2\n" * 30, "bad.csv, row 1 (line 2), column 'b': the value is missing"),
        (b"a,b\n", "bad.csv has a header but no rows"),
        (b"1,2\n3,4\n", "bad.csv starts with a line of numbers; the first line must name the columns"),
        (b"a,a\n1,2\n", "bad.csv has two columns called 'a'"),
        (b"a,b\n1,2\n3\n", "bad.csv, row 2 (line 3) has 1 fields, the header has 2"),
        (b"a,b\n1,\xff\n", "bad.csv is not a text file in UTF-8 (invalid start byte at byte 6)"),
        (b'a,b\n1,"2\n', "bad.csv is not a CSV file: unexpected end of data"),
    ]:
        Path("bad.csv").write_bytes(content)
        assert message in refused(capsys, "train", "bad.csv", "--target", "b")


def rows_with(row, column, cell):
    """A good table of 40 rows, with one cell changed; the header is line 1."""
    rng = np.random.default_rng(0)
    rows = [[f"{x:.3f}", colour, f"{y:.3f}"] for x, y in rng.standard_normal((40, 2)) for colour in ["red"]]
    rows[row - 1][column] = cell
    return write("table.csv", ["x", "colour", "y"], rows)


def test_cells_that_are_no_values(capsys):
    for column, cell, message in [
        (0, "tall", "table.csv, row 3 (line 4), column 'x': 'tall' is not a number, as the rest of the column is"),
        (0, "", "table.csv, row 3 (line 4), column 'x': the value is missing"),
        (0, "NaN", "table.csv, row 3 (line 4), column 'x': the value is NaN"),
        (0, "inf", "table.csv, row 3 (line 4), column 'x': the value is inf"),
        (1, "", "table.csv, row 3 (line 4), column 'colour': the value is missing"),
        (2, "NaN", "table.csv, row 3 (line 4), column 'y': the value is NaN"),
    ]:
        assert message in refused(capsys, "train", rows_with(3, column, cell), "--target", "y")
    assert run("train", rows_with(3, 0, "tall"), "--target", "y", "--ignore", "x", "--epochs", 1) == 0


def test_columns_that_do_not_fit(capsys):
    table = flowers()
    assert "flowers.csv has no column 'kid'; did you mean 'kind'?" in refused(capsys, "train", table, "--target", "kid")
    assert "no column 'zzz'; it has: x, colour, kind" in refused(
        capsys, "train", table, "--target", "kind", "--ignore", "zzz"
    )
    assert "say what to predict with --target; the columns of flowers.csv are x, colour, kind" in refused(
        capsys, "train", table
    )
    assert "cannot be both --target and --ignore" in refused(
        capsys, "train", table, "--target", "kind", "--ignore", "kind"
    )
    assert "has no column besides the target 'kind'" in refused(
        capsys, "train", table, "--target", "kind", "--ignore", "x", "--ignore", "colour"
    )
    assert "'kind' holds text, so it cannot be a target of regression" in refused(
        capsys, "train", table, "--target", "kind", "--task", "regression"
    )
    assert "--target is for CSV files" in refused(capsys, "train", "iris", "--target", "kind")
    names = write("names.csv", ["name", "y"], [[f"person {i}", i % 2] for i in range(50)])
    assert "column 'name' holds 50 different texts in 50 rows" in refused(capsys, "train", names, "--target", "y")


def test_targets_with_nothing_to_learn(capsys):
    one = write("one.csv", ["x", "kind"], [[i, "cat"] for i in range(30)])
    assert "column 'kind' has one class only, 'cat': nothing to learn" in refused(
        capsys, "train", one, "--target", "kind"
    )
    same = write("same.csv", ["x", "y"], [[i, 7] for i in range(30)])
    assert "column 'y' is 7 in every row: nothing to learn" in refused(capsys, "train", same, "--target", "y")
    few = write("few.csv", ["x", "y"], [[i, i / 3] for i in range(19)])
    assert "few.csv has too few rows (19) to hold some out" in refused(capsys, "train", few, "--target", "y")
    pairs = write("pairs.csv", ["x", "kind"], [[i, f"class {i // 2}"] for i in range(40)])
    assert "it takes 20, and 3 of some class" in refused(capsys, "train", pairs, "--target", "kind")


def test_a_learning_rate_that_diverges_is_named(capsys):
    assert run("train", line(), "--target", "y", "--lr", "1e30") == 2
    assert "a smaller --lr may help" in capsys.readouterr().err
    assert os.listdir() == ["line.csv"]


@pytest.mark.parametrize(
    "option", [["--epochs", "0"], ["--lr", "-1"], ["--lr", "nan"], ["--hidden", "8,x"], ["--hidden", "0"],
               ["--activation", "rely"], ["--batch-size", "2.5"], ["--seed", "-1"]],
)  # fmt: skip
def test_options_out_of_range(option, capsys):
    assert run("train", "digits", *option) == 2
    assert f"argument {option[0]}" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_before_training(capsys):
    Path("taken").touch()
    assert "taken is not a folder that can be written to" in refused(
        capsys, "train", flowers(), "--target", "kind", "--out", "taken"
    )


def test_missing_extras_are_named_before_any_work(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "training needs matplotlib: pip install 'wengert[train]'" in refused(capsys, "train", "digits")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    Path("m.safetensors").touch()
    assert "wg.load needs safetensors: pip install 'wengert[train]'" in refused(
        capsys, "predict", "m.safetensors", "digits"
    )


def test_a_missing_extra_is_named_when_predicting(capsys, monkeypatch):
    assert run("train", "iris", "--epochs", 1, "--out", "out") == 0
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "the built-in data set iris needs sklearn: pip install 'wengert[train]'" in refused(
        capsys, "predict", "out", "iris"
    )


def test_models_that_are_none(capsys):
    table = flowers()
    assert run("train", table, "--target", "kind", "--epochs", 1, "--out", "out") == 0
    capsys.readouterr()
    whole = Path("out/model.safetensors").read_bytes()

    def told():
        return refused(capsys, "predict", "m.safetensors", table)

    assert "there is no model at m.safetensors; `wengert train` writes one" in told()
    for length in (0, 5, 200, len(whole) - 1):
        Path("m.safetensors").write_bytes(whole[:length])
        assert "is not a safetensors file, or it is truncated" in told()
    wg.save("m.safetensors", {"w": wg.ones(3)})
    assert "m.safetensors is not a model that `wengert train` wrote" in told()
    tensors, metadata = wg.load("out/model.safetensors", with_metadata=True)
    wg.save("m.safetensors", tensors | {"mlp.layers.1.weight": wg.ones((3, 3))}, metadata)
    assert "mlp.layers.1.weight has shape (128, 64) in TableModel, (3, 3) in the state" in told()
    wg.save("m.safetensors", {k: v for k, v in tensors.items() if k != "input_std"}, metadata)
    assert "missing input_std" in told()


def test_tables_that_do_not_fit_the_model(capsys):
    assert run("train", flowers(), "--target", "kind", "--epochs", 1, "--out", "out") == 0
    capsys.readouterr()
    for header, row, message in [
        (["x", "kind"], ["1", "b"], "new.csv has no column 'colour'"),
        (["x", "colour"], ["1", "green"], "row 1 (line 2), column 'colour': 'green' is none of the values that the "
                                          "model knows: blue, red"),
        (["x", "colour"], ["one", "red"], "row 1 (line 2), column 'x': 'one' is not a number"),
    ]:  # fmt: skip
        write("new.csv", header, [row])
        assert message in refused(capsys, "predict", "out", "new.csv")


def test_everything_that_is_wrong_is_said_at_once(capsys):
    rows = [
        [f"person {i}", i if i != 5 else "x", "" if i in (3, 4) else i / 2, i / 3 if i else 1e200] for i in range(50)
    ]
    table = write("bad.csv", ["name", "a", "b", "y"], rows)
    told = refused(capsys, "train", table, "--target", "y", "--ignore", "zzz")
    for reason in ("no column 'zzz'", "'name' holds 50 different texts", "(line 7), column 'a': 'x' is not a number",
                   "row 4 (line 5), column 'b': the value is missing", "1 more cells of the column are no better",
                   "row 1 (line 2), column 'y': the value is too large: 1e+200"):  # fmt: skip
        assert reason in told
    table = write("twice.csv", ["a", "a", "b", "b", "y"], [[1, 2, 3, 4, 5]])
    told = refused(capsys, "train", table, "--target", "y")
    assert "called 'a'" in told and "called 'b'" in told


def test_a_target_given_twice_is_refused(capsys):
    assert run("train", line(), "--target", "a", "--target", "b") == 2
    assert "argument --target: given twice, as 'a' and 'b'; choose one" in capsys.readouterr().err
    assert os.listdir() == ["line.csv"]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e200", "-1e101", "1_2"])
@pytest.mark.parametrize("column", ["x", "y"])
def test_numbers_to_be_refused_are_found_before_training(capsys, column, value):
    told = refused(capsys, "train", rows_with(3, 0 if column == "x" else 2, value), "--target", "y")
    assert f"row 3 (line 4), column {column!r}" in told


def test_booleans_in_any_spelling_are_one_category(capsys):
    rows = [
        [i % 5, ["True", "TRUE", "true"][i % 3] if i % 5 > 2 else ["False", "FALSE", "false"][i % 3]] for i in range(60)
    ]
    table = write("t.csv", ["x", "y"], rows)
    assert run("train", table, "--target", "y", "--epochs", 5, "--out", "out") == 0
    assert read_metrics("out")["classes"] == ["false", "true"]
    assert run("train", table, "--target", "x", "--task", "regression", "--epochs", 5, "--out", "out") == 0
    write("new.csv", ["y"], [["tRUE"], ["FALSE"]])
    assert run("predict", "out", "new.csv") == 0
    assert model.load_model("out").schema.inputs == {"y": ["false", "true"]}


def test_predictions_have_all_their_digits(capsys):
    x = np.random.default_rng(0).uniform(0, 1, 80)
    table = write("t.csv", ["x", "y"], np.column_stack([x, 1e9 + 2 * x]).tolist())
    assert run("train", table, "--target", "y", "--epochs", 30, "--out", "out") == 0
    capsys.readouterr()
    assert run("predict", "out", table) == 0
    printed = [float(value) for value in capsys.readouterr().out.splitlines()[1:]]
    m = model.load_model("out")
    assert printed == m.predictions(m.schema.encode(data.read_table(table))).tolist()
    assert len(set(printed)) > 40


def test_metrics_are_standard_json(monkeypatch):
    losses = iter([3.0, float("inf")])
    monkeypatch.setattr(
        training.nn, "mse_loss", lambda x, y: wg.tensor(next(losses)) if len(x) == 8 else wg.nn.losses.mse_loss(x, y)
    )
    assert run("train", line(), "--target", "y", "--epochs", 9, "--batch-size", 64, "--out", "out") == 0

    def refuse(word):
        raise AssertionError(word)

    metrics = json.loads(Path("out/metrics.json").read_text(), parse_constant=refuse)
    assert [epoch["validation_loss"] for epoch in metrics["history"]] == [3.0, None]


def test_wide_tables_many_classes_and_long_cells_take_seconds(capsys):
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    names = [f"column {i}" for i in range(20_000)]
    wide = write("wide.csv", [*names, "y"], rng.integers(0, 9, (20, 20_001)).tolist())
    assert run("train", wide, "--target", "y", "--task", "regression", "--epochs", 1, "--hidden", 4) == 0
    capsys.readouterr()
    many = write("many.csv", ["x", "y"], [[i, f"class {i // 3}"] for i in range(60_000)])
    assert "has 20000 classes, and 1000 are the most" in refused(capsys, "train", many, "--target", "y")
    long = write("long.csv", ["x", "note", "y"], [[i, "z" * 100_000 if i == 9 else "", i / 7] for i in range(20_000)])
    assert run("train", long, "--target", "y", "--ignore", "note", "--epochs", 1) == 0
    labels = np.repeat(np.arange(100_000), 3)
    assert sum(map(len, data.split(labels, rng))) == labels.size
    assert time.perf_counter() - started < 60


# ---- Parts ----


def test_targets_are_told_apart():
    def classes(cells, task="auto"):
        table = data.Table("t", {"x": np.arange(len(cells), dtype=float), "y": np.array(cells)})
        return data.infer(table, "y", task, [], []).classes

    assert classes(["b", "a"] * 5) == ["a", "b"]
    assert classes(["10", "9.0", "9", "10"] * 5) == ["9", "10"]  # by value, not by spelling
    assert classes([str(i) for i in range(30)]) is None
    assert classes(["0.5", "1.5"] * 10) is None
    assert classes(["0.5", "1.5"] * 10, "classification") == ["0.5", "1.5"]
    assert classes(["0", "1"] * 10, "regression") is None


def test_the_split_holds_out_a_tenth_of_each_class():
    labels = np.repeat([0, 1, 2, 3], [100, 50, 5, 2])
    parts = data.split(labels, np.random.default_rng(0))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(labels.size))
    counts = [np.bincount(labels[part], minlength=4).tolist() for part in parts]
    assert counts == [[80, 40, 3, 2], [10, 5, 1, 0], [10, 5, 1, 0]]


def test_separators_quotes_and_byte_order_marks():
    for text in ("a;b\n1;x\n", "a\tb\n1\tx\n", '\ufeffa, b\n"1", "x"\n', "a,b\r\n\r\n1,x\r\n"):
        Path("t.csv").write_bytes(text.encode())
        columns = data.read_table("t.csv").columns
        assert {name: cells.tolist() for name, cells in columns.items()} == {"a": ["1"], "b": ["x"]}


def test_standardising_uses_the_given_rows_and_survives_constants_and_offsets():
    schema = data.Schema({"a": None, "b": None}, "y")
    m = model.TableModel(schema, [4], "tanh", seed=0)
    x = np.array([[1e9, 5.0], [1e9 + 1, 5.0]])
    m.fit_scale(x, np.array([[10.0], [30.0]]))
    assert m.scaled(x).tolist() == [[-1, 0], [1, 0]]
    assert m.scaled_target(np.array([[30.0]])).tolist() == [[1]]


def test_score():
    assert report.score(np.array([[1, 2], [3, 0]]), np.array([1, 1])) == 0.5
    y = np.array([[1.0], [2.0], [3.0]])
    assert report.score(y, y) == 1
    assert report.score(np.full((3, 1), 2.0), y) == 0
    assert report.score(y[:1] + 1, y[:1]) == 0


def test_a_reader_that_leaves_early_is_no_error():
    assert run("train", "iris", "--epochs", 1, "--out", "out") == 0
    table = write("many.csv", data.read_table("iris").columns, [[1, 2, 3, 4, "setosa"]] * 20000)
    predict = subprocess.Popen(
        [sys.executable, "-m", "wengert", "predict", "out", table], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert predict.stdout.readline() == b"target,probability\n"
    predict.stdout.close()
    with predict.stderr as errors:
        assert errors.read() == b""
    assert predict.wait() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["mlp.layers.0.weight", "mlp.layers.2.bias", "input_std"])
def test_a_model_of_no_finite_numbers_is_refused(capsys, which, bad):
    assert run("train", line(), "--target", "y", "--epochs", 1, "--hidden", "4,3", "--out", "out") == 0
    tensors, metadata = wg.load("out/model.safetensors", with_metadata=True)
    values = tensors[which].numpy().copy()
    values.flat[0] = bad
    wg.save("out/model.safetensors", tensors | {which: values}, metadata)
    capsys.readouterr()
    message = refused(capsys, "predict", "out", "line.csv", "--out", "predicted.csv")
    assert f"out/model.safetensors cannot be used: {which} holds NaN or infinite numbers" in message
    assert not os.path.exists("predicted.csv")


def test_a_value_beyond_all_predictions_is_refused(capsys):
    assert run("train", line(), "--target", "y", "--epochs", 1, "--activation", "relu", "--out", "out") == 0
    write("far.csv", ["a", "b"], [[1, 2], [1e300, -1e300]])
    capsys.readouterr()
    assert "far.csv, row 2 (line 3), column 'a': the value is too large: 1e+300" in refused(
        capsys, "predict", "out", "far.csv"
    )
