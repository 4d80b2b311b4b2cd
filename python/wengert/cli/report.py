"""What a training run tells: on the terminal, in metrics.json, and as a picture."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wengert import _files, _version
from wengert.cli.data import Schema, Table
from wengert.cli.model import TableModel

if TYPE_CHECKING:
    from wengert.cli.train import History

Array = npt.NDArray[Any]


def score(outputs: Array, target: Array) -> float:
    """Accuracy of class scores, or R² of quantities."""
    if target.ndim == 1:
        return float((outputs.argmax(axis=1) == target).mean())
    total = ((target - target.mean()) ** 2).sum()
    return float(1 - ((target - outputs) ** 2).sum() / total) if total else 0.0


@dataclass
class Results:
    """All there is to say about a run."""

    source: str
    model: TableModel
    history: History
    target: Array  # of the test rows
    predicted: Array  # probabilities, or quantities
    rows: list[int]
    options: dict[str, Any]
    seconds: float

    def quality(self) -> dict[str, Any]:
        """How the predictions of the test rows compare with the truth."""
        from sklearn import metrics

        classes = self.model.schema.classes
        if classes is None:
            truth, guess = self.target[:, 0], self.predicted
            return {
                "r2": float(metrics.r2_score(truth, guess)),
                "mean_absolute_error": float(metrics.mean_absolute_error(truth, guess)),
                "root_mean_squared_error": float(np.sqrt(metrics.mean_squared_error(truth, guess))),
            }
        labels = range(len(classes))
        return {
            "accuracy": float(metrics.accuracy_score(self.target, self.predicted.argmax(axis=1))),
            "log_loss": float(metrics.log_loss(self.target, self.predicted, labels=labels)),
            "always_the_commonest_class": float(np.bincount(self.target).max() / len(self.target)),
            "confusion": metrics.confusion_matrix(self.target, self.predicted.argmax(axis=1), labels=labels).tolist(),
        }


def heading(table: Table, schema: Schema, model: TableModel, rows: list[int]) -> str:
    """What will be trained on what, before it begins."""
    kind = f"{schema.outputs} classes" if schema.classes else "a quantity"
    sizes = "-".join(map(str, model.mlp.sizes))
    count = sum(p.size for p in model.parameters())
    return (
        f"{table.source}: {len(table)} rows ({rows[0]} for training, {rows[1]} for validation, {rows[2]} for test)\n"
        f"predicting {schema.target!r}, {kind}, from {len(schema.inputs)} columns\n"
        f"MLP {sizes}, {model.activation}, {count:,} parameters"
    )


def summary(results: Results) -> str:
    """The outcome, in a few lines."""
    history, quality = results.history, results.quality()
    lines = [f"{history.ended}; kept the weights of epoch {history.best_epoch} of {len(history.epochs)}"]
    if results.model.schema.classes is None:
        lines += [f"held-out R²  {quality['r2']:.4f}",
                  f"held-out mean absolute error  {quality['mean_absolute_error']:.4g}, "
                  f"root mean square  {quality['root_mean_squared_error']:.4g}"]  # fmt: skip
    else:
        hits = round(quality["accuracy"] * len(results.target))
        lines += [f"held-out accuracy  {quality['accuracy']:.4f}  ({hits} of {len(results.target)} test rows; "
                  f"always the commonest class: {quality['always_the_commonest_class']:.4f})"]  # fmt: skip
        lines += _worst_confusions(quality["confusion"], results.model.schema.classes)
    return "\n".join([*lines, f"{results.seconds:.1f} s"])


def _worst_confusions(confusion: list[list[int]], classes: list[str]) -> list[str]:
    wrong = [(n, a, b) for a, row in enumerate(confusion) for b, n in enumerate(row) if a != b and n]
    return [f"  {classes[a]} taken for {classes[b]}: {n}" for n, a, b in sorted(wrong, reverse=True)[:3]]


def write_model(model: TableModel, folder: str) -> str:
    """model.safetensors in ``folder``; its path."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model.safetensors")
    model.save(path)
    return path


def write(results: Results, folder: str) -> list[str]:
    """metrics.json and curves.png in ``folder``; their paths."""
    history = results.history
    metrics = {
        "wengert": _version.__version__,
        "data": results.source,
        "task": results.model.schema.task,
        "target": results.model.schema.target,
        "classes": results.model.schema.classes,
        "sizes": results.model.mlp.sizes,
        "rows": dict(zip(("train", "validation", "test"), results.rows, strict=True)),
        "test": results.quality(),
        "best_epoch": history.best_epoch,
        "ended": history.ended,
        "seconds": round(results.seconds, 3),
        "options": results.options,
        "history": [epoch._asdict() for epoch in history.epochs],
    }
    text = json.dumps(_standard(metrics), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    paths = [os.path.join(folder, name) for name in ("metrics.json", "curves.png")]
    _files.write_whole(paths[0], text.encode())
    _files.write_whole(paths[1], _curves(results))
    return paths


def _standard(tree: Any) -> Any:
    """Without the numbers that JSON does not have; null stands for them."""
    if isinstance(tree, dict):
        return {key: _standard(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_standard(value) for value in tree]
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree


TRAIN, VALIDATION = "#3b6ea8", "#d1603d"


def _curves(results: Results) -> bytes:
    """Losses and score by epoch, and how the test predictions compare with the truth, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    history, classes = results.history, results.model.schema.classes
    figure = Figure(figsize=(13, 4), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    losses, scores, truth = figure.subplots(1, 3)
    epochs = range(1, len(history.epochs) + 1)
    train_loss, validation_loss, validation_score = zip(*history.epochs, strict=True)
    losses.plot(epochs, train_loss, color=TRAIN, label="training")
    losses.plot(epochs, validation_loss, color=VALIDATION, label="validation")
    losses.set(
        xlabel="epoch",
        ylabel="cross-entropy (labels smoothed)" if classes else "squared error (standardised)",
        yscale="log",
    )
    losses.yaxis.set_major_formatter("{x:g}")
    losses.yaxis.set_minor_formatter("{x:g}")
    scores.plot(epochs, validation_score, color=VALIDATION)
    scores.set(xlabel="epoch", ylabel="validation accuracy" if classes else "validation R²")
    for axes in (losses, scores):
        axes.axvline(history.best_epoch, color="0.4", linewidth=1, linestyle=":")
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    losses.plot([], [], color="0.4", linewidth=1, linestyle=":", label="weights kept")
    losses.legend(frameon=False)
    (_show_confusion if classes else _show_fit)(figure, truth, results)
    figure.suptitle(f"{results.source}: MLP {'-'.join(map(str, results.model.mlp.sizes))}", fontweight="bold")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _show_confusion(figure: Any, axes: Any, results: Results) -> None:
    quality, classes = results.quality(), results.model.schema.classes or []
    counts = np.array(quality["confusion"])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= 20:
        for (a, b), n in np.ndenumerate(counts):
            if n:
                axes.text(
                    b, a, n, ha="center", va="center", fontsize=8, color="white" if share[a, b] > 0.5 else "black"
                )
        rotation = 90 if len(classes) * max(map(len, classes)) > 40 else 0
        axes.set_xticks(range(len(classes)), classes, rotation=rotation)
        axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title=f"test rows: accuracy {quality['accuracy']:.4f}")
    figure.colorbar(image, ax=axes, label="share of the true class")


def _show_fit(figure: Any, axes: Any, results: Results) -> None:
    truth, guess = results.target[:, 0], results.predicted
    ends = [min(truth.min(), guess.min()), max(truth.max(), guess.max())]
    axes.plot(ends, ends, color="0.4", linewidth=1, linestyle=":")
    axes.scatter(truth, guess, s=14, color=TRAIN, alpha=0.6, linewidths=0)
    axes.set(xlabel=f"true {results.model.schema.target}", ylabel="predicted", aspect="equal",
             title=f"test rows: R² {results.quality()['r2']:.4f}")  # fmt: skip
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
