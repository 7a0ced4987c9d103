"""ActivityNet 1.3: the segments of the official file, or of the lists released with DEVIAS."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from devias.data.annotations import (
    AnnotationError,
    RowError,
    class_number,
    read_records,
    seconds,
    split_row,
    youtube_id,
)
from devias.data.json_lists import checked, field, read_members
from devias.data.path_lists import PathListDataModule
from devias.data.readers.video import without_suffix
from devias.data.records import VideoRecord

SUBSETS = {"train": "training", "val": "validation"}
MOMENT = 1.0
"""Seconds around a segment that starts where it ends, as 11 of the released lists do."""


class Segment(NamedTuple):
    """A segment of the official file, in seconds."""

    subset: str
    video: str
    """The YouTube id."""
    start: float
    end: float
    action: str
    source: str


class ActivityNet(PathListDataModule):
    """200 activities, 15,409 training and 7,654 validation segments; scenes from a scene model.

    Expected below `root`::

        videos/v_sJFgo9H6zNo.mp4 …    annotations/activity_net.v1-3.min.json

    A video is an `.mp4`, `.mkv` or `.webm` file, or a folder of stills (25 a second). The released
    `train.csv val.csv` may lie in the place of the official file. Their labels are those of
    MMAction2's `label_map.txt`, which may lie beside either for names and order; without it the
    classes of the official file are sorted, and those of the lists are numbers.

    Every segment is a video of its own, of one class. Validation and test read the validation
    segments: those of the test are not public.
    """

    def official_names(self) -> list[str]:
        """The names as `Applying sunscreen`, sorted."""
        return sorted({segment.action for segment in self.segments})

    def read_official(self, name: str) -> list[VideoRecord]:
        """The segments of `train` or `val`."""
        labels = {action: label for label, action in enumerate(self.action_names)}
        for segment in self.segments:
            if segment.action not in labels:
                why = f"there is no class {segment.action!r} in {self.class_file}"
                raise AnnotationError(segment.source, None, why)
        return [
            VideoRecord(
                self.find(segment.video),
                labels[segment.action],
                start=segment.start,
                end=segment.end,
                source=segment.source,
            )
            for segment in self.segments
            if segment.subset == SUBSETS[name]
        ]

    def read_list(self, path: Path) -> list[VideoRecord]:
        """The segments of a released list."""
        return read_released_list(path, self.find)

    @cached_property
    def segments(self) -> list[Segment]:
        """All segments of the official file."""
        return read_segments(self.present(self.annotations / "activity_net.v1-3.min.json"))

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The names of the files and folders of the videos, by what they are without a suffix."""
        names = os.listdir(self.videos) if self.videos.is_dir() else []
        return {without_suffix(name): name for name in sorted(names, reverse=True)}

    def find(self, video: str) -> str:
        """The file or folder of a video, given its YouTube id; `.mp4` if there is none."""
        return f"{self.videos}/" + self.files.get(f"v_{video}", f"v_{video}.mp4")

    def how_to_get(self) -> str:
        """Where the videos and the lists are to be had."""
        return (
            "ActivityNet 1.3 is at http://activity-net.org/download.html: put its videos, as "
            f"{self.videos}/v_sJFgo9H6zNo.mp4 (or .mkv, .webm), and activity_net.v1-3.min.json, or "
            f"DEVIAS's train.csv and val.csv, into {self.annotations}; or point data.root, "
            "data.videos and data.annotations to them."
        )


def read_segments(path: Path) -> list[Segment]:
    """Read `{"database": {<id>: {"subset": …, "annotations": [{"segment": [0.01, 1.5], …}]}}}`.

    Raises:
        AnnotationError: a video's entry is broken.
    """

    def parse(member: tuple[str, Any], source: str) -> list[Segment]:
        name, entry = member
        video, subset = youtube_id(name), field(entry, "subset", str)
        segments = []
        for annotation in field(entry, "annotations", list):
            times = [checked(time, float) for time in field(annotation, "segment", list)]
            if len(times) != 2:
                raise RowError(f"expected a segment of 2 times, got {len(times)}")
            start, end = _segment(*sorted(times))
            action = field(annotation, "label", str)
            segments.append(Segment(subset, video, start, end, action, source))
        return segments

    return [segment for video in read_members(path, parse, "database") for segment in video]


def read_released_list(path: Path, find: Callable[[str], str]) -> list[VideoRecord]:
    """Read `sJFgo9H6zNo 0.01 123.42 139.042 33`: id, start, end and duration in seconds, label.

    Args:
        path: of the list.
        find: the file of a video's id.

    Raises:
        AnnotationError: a row is broken.
    """

    def parse(text: str, source: str) -> VideoRecord:
        video, *times, label = split_row(text, "<id> <start> <end> <duration> <label>")
        start, end = _segment(*map(seconds, times[:2]))
        file = find(youtube_id(video))
        return VideoRecord(file, class_number(label), start=start, end=end, source=source)

    return read_records(path, parse)


def _segment(start: float, end: float) -> tuple[float, float]:
    """A segment that holds a frame: a moment stands for the second around it."""
    if not 0 <= start <= end < math.inf:
        raise RowError(f"there is no segment from {start} s to {end} s")
    return (start, end) if start < end else (max(start - MOMENT / 2, 0), end + MOMENT / 2)
