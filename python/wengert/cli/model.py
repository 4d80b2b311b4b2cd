"""A network with all that is needed to predict again: the meaning of its columns and the scale of its inputs."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import numpy as np
import numpy.typing as npt

import wengert as wg
from wengert import nn
from wengert.cli.data import Refused, Schema

Array = npt.NDArray[Any]

FORMAT = "wengert-table-model-1"
CHUNK = 8192  # rows evaluated at once, so that memory does not grow with the table


class TableModel(nn.Module):
    """An MLP on standardised columns; the scales are buffers, in float64 so that large offsets cost no accuracy."""

    def __init__(self, schema: Schema, hidden: list[int], activation: str, seed: nn.init.Seed = None):
        self.schema, self.hidden, self.activation = schema, hidden, activation
        self.mlp = nn.MLP([schema.width, *hidden, schema.outputs], activation, seed=seed)
        self.input_mean, self.input_std = wg.zeros(schema.width), wg.ones(schema.width)
        self.target_mean, self.target_std = wg.zeros(1), wg.ones(1)

    def forward(self, x: Any) -> wg.Tensor:
        """Scores of classes, or the standardised quantity, for standardised inputs."""
        return self.mlp.forward(x)

    def fit_scale(self, x: Array, y: Array) -> None:
        """Takes the scale of every column from the training rows; a constant column is only shifted."""
        pairs = [(x, self.input_mean, self.input_std)]
        if self.schema.classes is None:
            pairs.append((y, self.target_mean, self.target_std))
        for values, mean, std in pairs:
            spread = values.std(axis=0)
            mean.assign(values.mean(axis=0))
            std.assign(np.where(spread > 1e-12 * np.abs(values).max(axis=0, initial=0), spread, 1))

    def scaled(self, x: Array) -> Array:
        standard: Array = (x - self.input_mean.numpy()) / self.input_std.numpy()
        with np.errstate(over="ignore"):  # infinite, and so is the prediction, which is then refused
            return standard.astype(np.float32)

    def scaled_target(self, y: Array) -> Array:
        if self.schema.classes is not None:
            return y
        standard: Array = (y - self.target_mean.numpy()) / self.target_std.numpy()
        return standard.astype(np.float32)

    def outputs(self, x: Array) -> Array:
        """``forward`` of standardised rows, without a tape."""
        self.eval()
        with wg.no_grad():
            return np.concatenate([self(x[i : i + CHUNK]).numpy() for i in range(0, len(x), CHUNK)])

    def predictions(self, x: Array) -> Array:
        """Probabilities (rows, classes), or quantities (rows,) in the unit of the target."""
        y: Array = self.outputs(self.scaled(x)).astype(np.float64)
        if self.schema.classes is None:
            y = y * self.target_std.numpy() + self.target_mean.numpy()
            return y.ravel()
        return wg.softmax(y).numpy()

    def save(self, path: str) -> None:
        about = {
            "format": FORMAT,
            "schema": dataclasses.asdict(self.schema),
            "hidden": self.hidden,
            "activation": self.activation,
        }
        wg.save(path, self.state_dict(), {"wengert": json.dumps(about)})


def load_model(path: str) -> TableModel:
    """A model that ``save`` wrote. Refused, with the reason, if the file is anything else."""
    if os.path.isdir(path):
        path = os.path.join(path, "model.safetensors")
    try:
        tensors, metadata = wg.load(path, with_metadata=True)
        about = json.loads(metadata.get("wengert", "{}"))
        if about.get("format") != FORMAT:
            raise Refused(f"{path} is not a model that `wengert train` wrote")
        model = TableModel(Schema(**about["schema"]), about["hidden"], about["activation"], seed=0)
        model.load_state_dict(tensors, layout="wengert")
        for name, values in tensors.items():
            if not np.isfinite(values.numpy()).all():
                raise ValueError(f"{name} holds NaN or infinite numbers; train it again")
    except FileNotFoundError:
        raise Refused(f"there is no model at {path}; `wengert train` writes one") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path} cannot be used: {error}") from error
    return model
