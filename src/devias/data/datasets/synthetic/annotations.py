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

from devias.data.annotations import (
    RowError,
    class_number,
    read_records,
    relative_path,
    split_row,
)
from devias.data.class_names import read_class_index
from devias.data.datasets.synthetic.plan import FAMILIES, ClipPlan, SyntheticSettings
from devias.data.records import VideoRecord
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
    """Class names in order; `kind` is `actions` or `scenes`.

    Raises:
        AnnotationError: a row is broken, or numbers and names are not one to one or have gaps.
    """
    return read_class_index(Path(folder) / f"classes_{kind}.txt")


def read_split(folder: Path | str, split: str) -> list[VideoRecord]:
    """The records of a split in the file's order.

    Raises:
        AnnotationError: a row is broken, or a video stands there twice.
        FileNotFoundError: there is no such split.
    """
    folder = Path(folder)
    num_actions, num_scenes = (len(read_classes(folder, kind)) for kind in ("actions", "scenes"))

    def parse(text: str, source: str) -> VideoRecord:
        name, action, scene = split_row(text, "<path> <action> <scene>")
        name = relative_path(name)
        return VideoRecord(
            file=folder / "videos" / name,
            action=UNKNOWN if action == "-1" else _label(action, num_actions),
            scene=_label(scene, num_scenes),
            masks=(folder / "masks" / name).with_suffix(".png"),
            source=source,
        )

    return read_records(folder / "annotations" / f"{split}.txt", parse)


def _label(text: str, num_classes: int) -> int:
    """A class number that exists."""
    label = class_number(text)
    if label >= num_classes:
        raise RowError(f"class {label} is out of range, 0 to {num_classes - 1}")
    return label
