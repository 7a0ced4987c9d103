"""HVU: the official tags, or the lists of one action and one scene released with DEVIAS."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from devias.data.annotations import (
    AnnotationError,
    RowError,
    class_number,
    read_csv,
    read_csv_records,
    read_records,
    relative_path,
    split_row,
    youtube_id,
)
from devias.data.datamodule import VideoDataModule
from devias.data.records import VideoRecord
from devias.structures import UNKNOWN

SEEN_FROM, UNSEEN_TO = 158, 5
"""Training clips of a pair that is seen at least, and of one that is unseen at most: the range
that pairs of the released lists have."""


class HVU(VideoDataModule):
    """Videos of 739 actions in 248 scenes: training, and pairs that it holds often or hardly ever.

    Expected below `root`::

        videos/E4e6yAWU3lA_0_10.mp4 …    annotations/train.csv val_seen.csv val_unseen.csv

    The released lists have 27,532 training videos, 200 seen and 229 unseen ones; their "unseen"
    pairs occur up to 5 times in training. Where there is no `train.csv`, the official
    `HVU_Train_V1.0.csv HVU_Val_V1.0.csv` are read: of their videos those with exactly one action
    and one scene, and for seen and unseen the validation videos whose pair has at least 158 and
    at most 5 training videos. Labels follow the order of `HVU_Tags_Categories_V1.0.csv`, which
    released lists need for names only.
    """

    splits = ("train", "seen", "unseen")
    videos_folder = "videos"
    annotations_folder = "annotations"
    recording_name = r"(.+)_[\d.]+_[\d.]+"

    def __init__(self, root: str, **settings: object) -> None:
        super().__init__(root, **settings)  # type: ignore[arg-type]
        self.tag_file = self.annotations / "HVU_Tags_Categories_V1.0.csv"
        self.released = (self.annotations / "train.csv").exists()

    @property
    def action_names(self) -> list[str]:
        """The names as `playing_trombone`; `action 7` where there is no file of tags."""
        return self._names("action", self.num_actions)

    @property
    def scene_names(self) -> list[str]:
        """The names as `forest`; `scene 7` where there is no file of tags."""
        return self._names("scene", self.num_scenes)

    def read_split(self, split: str) -> list[VideoRecord]:
        """The videos of a split that have one action and one scene."""
        if self.released:
            name = "train.csv" if split == "train" else f"val_{split}.csv"
            path = self.present(self.annotations / name)
            return read_released_list(path, self.videos)
        train = self._read_official("HVU_Train_V1.0.csv")
        if split == "train":
            return train
        counts = Counter((record.action, record.scene) for record in train)
        least, most = (SEEN_FROM, len(train)) if split == "seen" else (0, UNSEEN_TO)
        records = [
            record
            for record in self._read_official("HVU_Val_V1.0.csv")
            if least <= counts[record.action, record.scene] <= most
        ]
        if not records:
            why = f"no video is of a pair with {least} to {most} training videos"
            raise AnnotationError(self.annotations / "HVU_Val_V1.0.csv", None, why)
        return records

    def how_to_get(self) -> str:
        """Where the videos and the lists are to be had."""
        return (
            "HVU's lists are at https://github.com/holistic-video-understanding/HVU-Dataset: unzip "
            f"HVU_Train_V1.0.csv and HVU_Val_V1.0.csv into {self.annotations}, beside "
            "HVU_Tags_Categories_V1.0.csv, or put DEVIAS's train.csv, val_seen.csv and "
            f"val_unseen.csv there; cut its YouTube videos to {self.videos}/E4e6yAWU3lA_0_10"
            ".mp4 (id, start and end in seconds); or point data.root, data.videos and "
            "data.annotations to them."
        )

    def _names(self, category: str, count: int) -> list[str]:
        if not self.released:
            self.present(self.tag_file)
        if self.tag_file.exists():
            return list(read_tags(self.tag_file)[category])
        return [f"{category} {label}" for label in range(count)]

    def _read_official(self, name: str) -> list[VideoRecord]:
        tags = read_tags(self.present(self.tag_file))
        return read_tag_list(self.present(self.annotations / name), self.videos, tags)


def read_released_list(path: Path, videos: Path) -> list[VideoRecord]:
    """Read `E4e6yAWU3lA_0_10 38 12`: video, action and scene.

    Raises:
        AnnotationError: a row is broken, or a video stands there twice.
    """

    def parse(text: str, source: str) -> VideoRecord:
        name, action, scene = split_row(text, "<video> <action> <scene>")
        video = f"{videos}/{relative_path(f'{name}.mp4')}"
        return VideoRecord(video, class_number(action), class_number(scene), source=source)

    return read_records(path, parse)


def read_tag_list(path: Path, videos: Path, tags: dict[str, dict[str, int]]) -> list[VideoRecord]:
    """Read `Tags,youtube_id,time_start,time_end`: the videos of exactly one action and one scene.

    Args:
        path: of the csv file; tags are joined by `|`, times are seconds.
        videos: the folder of `<youtube_id>_<start>_<end>.mp4`, times as 0 and 48.5.
        tags: as `read_tags` returns them.

    Raises:
        AnnotationError: a row is broken, a video stands there twice, or none is left.
    """
    known = {tag for category in tags.values() for tag in category}
    actions, scenes = tags["action"], tags["scene"]

    def parse(row: dict[str, str], source: str) -> VideoRecord:
        names, video = set(row["Tags"].split("|")), youtube_id(row["youtube_id"])
        if unknown := names - known:
            raise RowError(f"there is no tag {min(unknown)!r}")
        start, end = _seconds(row["time_start"]), _seconds(row["time_end"])
        file = f"{videos}/{relative_path(f'{video}_{start}_{end}.mp4')}"
        return VideoRecord(file, _only(names, actions), _only(names, scenes), source=source)

    columns = ("Tags", "youtube_id", "time_start", "time_end")
    records = read_csv_records(path, columns, parse)
    records = [record for record in records if UNKNOWN not in (record.action, record.scene)]
    if not records:
        raise AnnotationError(path, None, "no video has exactly one action and one scene")
    return records


def read_tags(path: Path) -> dict[str, dict[str, int]]:
    """Read `Tag,Category` → `{category: {tag: label}}`, labels in the order of the file.

    Raises:
        AnnotationError: a row is broken, a tag stands twice in a category, or there is no action
            or no scene.
    """
    tags: dict[str, dict[str, int]] = {}

    def parse(row: dict[str, str], source: str) -> None:
        tag, category = row["Tag"], row["Category"]
        if not tag or not category:
            raise RowError("expected '<tag>,<category>'")
        labels = tags.setdefault(category, {})
        if labels.setdefault(tag, label := len(labels)) != label:
            raise RowError(f"{tag!r} is already of the category {category}")

    read_csv(path, ("Tag", "Category"), parse)
    if missing := {"action", "scene"} - tags.keys():
        raise AnnotationError(path, None, f"no tag is of the category {min(missing)}")
    return tags


def _only(names: set[str], labels: dict[str, int]) -> int:
    """The label of the only name that has one; `UNKNOWN` if none or several have."""
    found = [labels[name] for name in names if name in labels]
    return found[0] if len(found) == 1 else UNKNOWN


def _seconds(text: str) -> str:
    """`0.0` → `0`, `48.5` → `48.5`, as the names of files have them."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", text):
        raise RowError(f"{text!r} is not a number of seconds")
    return f"{float(text):.15g}"
