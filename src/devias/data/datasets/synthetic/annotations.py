"""The data set's annotation files, written and read.

::

    classes_actions.txt          1 waving          numbered from 1, as UCF-101's classInd.txt
    classes_scenes.txt           1 water
    annotations/train.txt        waving/v_waving_g01_c001.mp4 0 0
    videos/waving/…mp4  masks/waving/…png

A row holds the video's path below `videos/`, its action and its scene, both numbered from 0; the
action is −1 where there is no actor. Every video has its silhouettes under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from devias.data.datasets.synthetic.plan import FAMILIES, ClipPlan, SyntheticSettings
from devias.data.records import AnnotationError, VideoRecord, class_number, numbered_lines
from devias.structures import UNKNOWN


def write_annotations(
    folder: Path, settings: SyntheticSettings, plans: Mapping[str, Sequence[ClipPlan]]
) -> None:
    """Write the class lists and one file a split."""
    family = FAMILIES[settings.family]
    for kind, names in (("actions", family.actions), ("scenes", family.scenes)):
        rows = [f"{number} {name}\n" for number, name in enumerate(names, start=1)]
        (folder / f"classes_{kind}.txt").write_text("".join(rows), encoding="utf-8")
    (folder / "annotations").mkdir()
    for split, clips in plans.items():
        rows = [f"{clip.name}.mp4 {clip.action} {clip.scene}\n" for clip in clips]
        (folder / "annotations" / f"{split}.txt").write_text("".join(rows), encoding="utf-8")


def read_classes(folder: Path | str, kind: str) -> list[str]:
    """Class names in order; `kind` is `actions` or `scenes`."""
    path = Path(folder) / f"classes_{kind}.txt"
    names: list[str] = []
    for line, text in numbered_lines(path):
        number, _, name = text.partition(" ")
        if class_number(path, line, number) != len(names) + 1 or not name:
            raise AnnotationError(path, line, f"expected '{len(names) + 1} <name>', got {text!r}")
        names.append(name)
    return names


def read_split(folder: Path | str, split: str) -> list[VideoRecord]:
    """The records of a split in the file's order.

    Raises `FileNotFoundError` where there is no such split, `AnnotationError` for a bad row.
    """
    folder = Path(folder)
    path = folder / "annotations" / f"{split}.txt"
    num_actions, num_scenes = (len(read_classes(folder, kind)) for kind in ("actions", "scenes"))
    records = []
    for line, text in numbered_lines(path):
        fields = text.split()
        if len(fields) != 3:
            raise AnnotationError(path, line, f"expected 'path action scene', got {text!r}")
        name, action, scene = fields
        records.append(
            VideoRecord(
                path=folder / "videos" / name,
                action=UNKNOWN if action == "-1" else _label(path, line, action, num_actions),
                scene=_label(path, line, scene, num_scenes),
                masks=(folder / "masks" / name).with_suffix(".png"),
                source=f"{path}:{line}",
            )
        )
    return records


def _label(path: Path, line: int, text: str, num_classes: int) -> int:
    """A class number that exists."""
    label = class_number(path, line, text)
    if label >= num_classes:
        raise AnnotationError(path, line, f"class {label} is out of range, 0 to {num_classes - 1}")
    return label
