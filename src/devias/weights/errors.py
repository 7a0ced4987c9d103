"""What can be wrong with weights, and where to get them."""

from __future__ import annotations

from collections.abc import Iterable

from devias.errors import DeviasError

WHERE_TO_FETCH = (
    "VideoMAE weights are linked from https://github.com/MCG-NJU/VideoMAE/blob/main/MODEL_ZOO.md, "
    "those of DEVIAS and its scene model from https://github.com/KHU-VLL/DEVIAS"
)

WEIGHT_KEYS = (
    "The keys backbone.weights, weights, scene_teacher.model.path and checkpoint name such files, "
    "paths.weights (or the variable DEVIAS_WEIGHTS) their folder"
)


class WeightsError(DeviasError, ValueError):
    """A weight file that cannot be used; the message says why."""


class MissingWeightsError(WeightsError, FileNotFoundError):
    """There are no weights of that name; the message says where to get them."""


def some(names: Iterable[object], most: int = 3) -> str:
    """The first few of many names, none longer than a line."""
    names = list(names)
    shown = [text if len(text := str(name)) < 100 else f"{text[:96]} …" for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more
