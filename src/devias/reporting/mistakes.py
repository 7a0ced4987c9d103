"""The mistakes that a model is most sure of, with what can be seen of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from devias.data.dataset import read_frames
from devias.data.records import video_id
from devias.errors import ConfigError, did_you_mean
from devias.evaluation.protocol import Protocol, Task
from devias.reporting.plots.samples import ClipSample
from devias.reporting.predictions import PredictionsError, SetPredictions
from devias.structures import UNKNOWN
from devias.training.data import RunData

FRAMES = 4
"""Frames shown of a video, evenly spaced over it."""

TITLES = (
    "Set", "Video", "Action", "Answered action", "Scene", "Answered scene", "Usual action",
    "Sure", "Sure of the other",
)  # fmt: skip


@dataclass(frozen=True)
class Mistake:
    """A video whose action or scene is answered wrongly."""

    set: str
    index: int
    """Position in the set's records."""
    video: str
    """As `video_id`."""
    names: dict[str, str | None]
    """Class names of labels and answers, as in `SetPredictions`."""
    sure: float
    """The probability of the wrong answer."""
    sure_of_other: float | None
    """That of the answer to the other task; `None` of a model without it."""
    usual: bool
    """Whether the wrong action is the one that training mostly shows in the scene."""

    @property
    def note(self) -> str:
        """How sure the model is, and what the answer may come from."""
        usual = "; the scene's usual action" if self.usual else ""
        return f"{100 * self.sure:.0f} % sure{usual}"

    @property
    def row(self) -> list[str]:
        """The cells under `TITLES`; what is unknown is empty."""
        named = ("action", "predicted_action", "scene", "predicted_scene")
        other = "" if self.sure_of_other is None else f"{100 * self.sure_of_other:.1f}"
        names = [self.names[name] or "" for name in named]
        usual = "yes" if self.usual else ""
        return [self.set, self.video, *names, usual, f"{100 * self.sure:.1f}", other]


def confident_mistakes(
    protocol: Protocol,
    sets: Mapping[str, SetPredictions],
    task: Task = "action",
    count: int = 12,
    name: str | None = None,
) -> list[Mistake]:
    """The wrong answers with the highest probabilities, the surest first.

    Sets of which wrong answers speak for a model, as SCUFO's, are left out.

    Args:
        protocol: of the sets.
        sets: what was answered.
        task: whose answers.
        count: of the mistakes.
        name: of the only set to look at.

    Raises:
        ConfigError: there is no such set or task.
    """
    if task not in ("action", "scene"):
        raise ConfigError(f"task is action or scene, not {task!r}")
    if name is not None and name not in sets:
        raise ConfigError(f"there is no set {name!r}{did_you_mean(name, sets)}")
    found = [
        _mistake(s.name, sets[s.name], task, place)
        for s in protocol.sets
        if task in s.tasks and not s.lower_is_better and name in (None, s.name)
        for place in _wrong(sets[s.name], task)[:count]
    ]
    return sorted(found, key=lambda mistake: -mistake.sure)[:count]


def _wrong(answered: SetPredictions, task: Task) -> list[int]:
    """The places of wrong answers, the surest first."""
    predictions = answered.predictions
    label, answer = getattr(predictions, task), predictions.answers(task)
    places = np.flatnonzero((label != UNKNOWN) & (answer != UNKNOWN) & (label != answer))
    scores = getattr(predictions, f"{task}_scores")[places, :1].reshape(-1)
    return places[np.argsort(-scores, kind="stable")].tolist()


def _mistake(name: str, answered: SetPredictions, task: Task, place: int) -> Mistake:
    predictions = answered.predictions
    other = predictions.scene_scores if task == "action" else predictions.action_scores
    names = {column: names[place] for column, names in answered.names.items()}
    return Mistake(
        set=name,
        index=int(predictions.index[place]),
        video=answered.videos[place],
        names=names,
        sure=float(getattr(predictions, f"{task}_scores")[place, 0]),
        sure_of_other=float(other[place, 0]) if other.shape[1] else None,
        usual=task == "action" and names["predicted_action"] == names["usual_action"],
    )


def mistake_samples(data: RunData, mistakes: Iterable[Mistake]) -> list[ClipSample]:
    """Frames and labels of mistakes, for `clip_figure`.

    Args:
        data: of the run.
        mistakes: of the predictions of this run.

    Raises:
        PredictionsError: the data holds other videos than were tested, or lacks a set.
        VideoError: a video cannot be read.
    """
    return [_sample(data, mistake) for mistake in mistakes]


def _sample(data: RunData, mistake: Mistake) -> ClipSample:
    protocol = data.protocol
    if mistake.set not in (names := [s.name for s in protocol.sets]):
        why = protocol.absent.get(mistake.set, f"the sets are {', '.join(names)}")
        raise PredictionsError(f"the set {mistake.set} was tested and is not here: {why}")
    eval_set = protocol.sets[names.index(mistake.set)]
    owner = data.owner(eval_set)
    records = owner.records(eval_set.split)
    record = records[mistake.index] if mistake.index < len(records) else None
    if record is None or video_id(record, owner.videos, owner.root) != mistake.video:
        raise PredictionsError(
            f"video {mistake.index} of {mistake.set} was {mistake.video} when it was tested, and "
            f"is {record and record.path} now: give the data of that time, data.root=…"
        )
    frames, _, _ = read_frames(record, lambda n: np.linspace(0, n - 1, FRAMES).astype(np.int64))
    return ClipSample(
        frames=frames.numpy(),
        true_action=mistake.names["action"],
        predicted_action=mistake.names["predicted_action"],
        true_scene=mistake.names["scene"],
        predicted_scene=mistake.names["predicted_scene"],
        note=mistake.note,
    )
