"""The predictions of an evaluation as a Parquet file, a row a video."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from devias.data.records import video_id
from devias.errors import DeviasError
from devias.evaluation.predictions import FIELDS, Predictions
from devias.evaluation.protocol import EvalSet, Protocol
from devias.parquet import read_parquet, write_parquet
from devias.structures import UNKNOWN
from devias.training.data import RunData

PREDICTIONS_FILE = "predictions.parquet"

CLASSES = ("action", "scene", "predicted_action", "predicted_scene", "usual_action")
"""Columns of class numbers, null where there is none; `<column>_name` has the names."""


class PredictionsError(DeviasError, ValueError):
    """A file that holds no predictions of ours; names it."""


@dataclass
class SetPredictions:
    """What a file tells of the M videos of one set."""

    videos: list[str]
    """`[M]` which videos they are, as `video_id`."""
    predictions: Predictions
    names: dict[str, list[str | None]]
    """`[M]` class names by the columns in `CLASSES`."""


Answers = tuple[Protocol, dict[str, SetPredictions]]
"""What a file holds: the protocol, and what was answered on each of its sets."""


def save_predictions(
    path: Path | str, data: RunData, predictions: Mapping[str, Predictions]
) -> None:
    """Write the answers on all test sets, one after the other, atomically.

    Columns: `set`, `video`, numbers and names of classes (`CLASSES`), and what `Predictions` holds.
    `usual_action` is the one that training mostly shows in the video's scene, for sets of unseen
    combinations. The protocol goes into the metadata.

    Args:
        path: of the file.
        data: of the run.
        predictions: by set.
    """
    parts = [_columns(data, s, predictions[s.name]) for s in data.protocol.sets]
    columns = {name: _joined([part[name] for part in parts]) for name in (parts or [{}])[0]}
    # A model of one task has no classes of the other.
    columns = {name: values for name, values in columns.items() if np.shape(values)[1:] != (0,)}
    for column in CLASSES if parts else ():  # typed, though all of their values be missing
        columns[column] = pa.array(columns[column], pa.int64())
        columns[f"{column}_name"] = pa.array(columns[f"{column}_name"], pa.string())
    write_parquet(path, columns, {"protocol": json.dumps(data.protocol.describe())})


def skipped_videos(predictions: Mapping[str, Predictions]) -> dict[str, list[str]]:
    """By set, why videos could not be read; only of sets that have such."""
    return {name: p.skipped for name, p in predictions.items() if p.skipped}


def _columns(data: RunData, eval_set: EvalSet, predictions: Predictions) -> dict[str, Any]:
    """The columns of one set: lists with `None` where a value is missing, and arrays."""
    owner = data.owner(eval_set)
    records, folders = owner.records(eval_set.split), (owner.videos, owner.root)
    actions, scenes = [*owner.action_names], [*owner.scene_names]
    answers = {task: predictions.answers(task) for task in ("action", "scene")}
    classes: dict[str, tuple[NDArray[np.int64], list[str]]] = {
        "action": (predictions.action, actions),
        "scene": (predictions.scene, scenes),
        "predicted_action": (answers["action"], actions + scenes),  # in the space "all"
        "predicted_scene": (answers["scene"], scenes),
        "usual_action": (_usual(data, eval_set, predictions), actions),
    }
    return {
        "set": [eval_set.name] * len(predictions),
        "video": [video_id(records[i], *folders) for i in predictions.index.tolist()],
        **{column: _labels(classes[column][0]) for column in CLASSES},
        **{f"{column}_name": _names(*classes[column]) for column in CLASSES},
        **{name: getattr(predictions, name) for name in FIELDS if name not in CLASSES},
    }


def _usual(data: RunData, eval_set: EvalSet, predictions: Predictions) -> NDArray[np.int64]:
    """`[M]` the action that each video's scene usually comes with, or `UNKNOWN`."""
    usual = data.reference(eval_set).usual_actions
    if usual is None:
        return np.full(len(predictions), UNKNOWN)
    scene = predictions.scene
    return np.where(scene == UNKNOWN, UNKNOWN, np.asarray(usual)[scene.clip(min=0)])


def _labels(classes: NDArray[np.int64]) -> list[int | None]:
    return [None if label == UNKNOWN else label for label in classes.tolist()]


def _names(classes: NDArray[np.int64], names: Sequence[str]) -> list[str | None]:
    return [None if label == UNKNOWN else names[label] for label in classes.tolist()]


def _joined(parts: Sequence[Any]) -> Any:
    """One column of the columns of several sets."""
    if isinstance(parts[0], list):
        return [value for part in parts for value in part]
    return np.concatenate(parts)


def load_predictions(path: Path | str) -> Answers:
    """The protocol and the sets of a file that `save_predictions` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ParquetError: it is no Parquet table.
        PredictionsError: it holds something else.
    """
    table = read_parquet(path)
    try:
        metadata = table.schema.metadata or {}
        protocol = Protocol.from_description(json.loads(metadata[b"protocol"]))
        names = np.array(table["set"].to_pylist())
        rows = {s.name: np.flatnonzero(names == s.name) for s in protocol.sets}
        return protocol, {name: _set_predictions(table.take(r)) for name, r in rows.items()}
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise PredictionsError(f"{path} holds no predictions of ours ({error})") from error


def _set_predictions(table: pa.Table) -> SetPredictions:
    """The rows of one set."""
    fields = {name: _array(table, name) for name in FIELDS}
    return SetPredictions(
        videos=table["video"].to_pylist(),
        predictions=Predictions(**fields),
        names={column: table[f"{column}_name"].to_pylist() for column in CLASSES},
    )


def _array(table: pa.Table, name: str) -> NDArray[Any]:
    """A column of `Predictions`, `[M]` or `[M, k]`."""
    if name.endswith(("_classes", "_scores")) and name not in table.column_names:
        return np.empty((len(table), 0))
    column = table[name].combine_chunks()
    if name in CLASSES:
        return column.fill_null(UNKNOWN).cast(pa.int64()).to_numpy(zero_copy_only=False)
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
    values = column.to_numpy(zero_copy_only=False)
    return values.astype(str) if name == "error" else values
