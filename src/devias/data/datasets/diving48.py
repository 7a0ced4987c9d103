"""Diving48: the official V2 files, or the lists released with DEVIAS."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from devias.data.annotations import RowError, relative_path
from devias.data.class_names import ClassNames
from devias.data.json_lists import checked, field, read_entries, read_entry_records
from devias.data.path_lists import PathListDataModule
from devias.data.records import VideoRecord


class Diving48(PathListDataModule):
    """48 kinds of dives, 15,027 training and 1,970 test videos (V2); scenes from a scene model.

    Expected below `root`::

        rgb/-mmq0PT-u8k_00155.mp4 …
        annotations/Diving48_V2_train.json Diving48_V2_test.json Diving48_vocab.json

    The released `train.csv test.csv` may lie in the place of the V2 files. Validation reads the
    test list, since there is no other.
    """

    videos_folder = "rgb"
    test_list = "test"
    recording_name = r"(.+)_\d+\b"

    @cached_property
    def action_names(self) -> list[str]:
        """The vocabulary's, where it is there; the released lists number them likewise."""
        vocabulary = self.annotations / "Diving48_vocab.json"
        return read_vocabulary(vocabulary) if vocabulary.exists() else super().action_names

    def official_names(self) -> list[str]:
        """The names as `Back+15som+05Twis+FREE`: take-off, somersaults, twists, position."""
        return read_vocabulary(self.present(self.annotations / "Diving48_vocab.json"))

    def read_official(self, name: str) -> list[VideoRecord]:
        """The videos of `train` or `test`."""
        path = self.present(self.annotations / f"Diving48_V2_{name}.json")
        return read_official_list(path, self.videos)

    def how_to_get(self) -> str:
        """Where the videos and the lists are to be had."""
        return (
            "Diving48 is at http://www.svcl.ucsd.edu/projects/resound/dataset.html: unpack "
            f"Diving48_rgb.tar.gz so that {self.videos}/-mmq0PT-u8k_00155.mp4 exists, and put "
            "Diving48_V2_train.json, Diving48_V2_test.json and Diving48_vocab.json, or DEVIAS's "
            f"train.csv and test.csv, into {self.annotations}; or point data.root, data.videos and "
            "data.annotations to them."
        )


def read_official_list(path: Path, videos: Path) -> list[VideoRecord]:
    """Read `[{"vid_name": "-mmq0PT-u8k_00155", "label": 0, …}, …]`: whole videos of a dive each.

    Raises:
        AnnotationError: an entry is broken, or a video stands there twice.
    """

    def parse(entry: Any, source: str) -> VideoRecord:
        name, label = field(entry, "vid_name", str), field(entry, "label", int)
        if label < 0:
            raise RowError(f"{label} is not a class number")
        return VideoRecord(f"{videos}/{relative_path(f'{name}.mp4')}", label, source=source)

    return read_entry_records(path, parse)


def read_vocabulary(path: Path) -> list[str]:
    """Read `[["Back", "15som", "05Twis", "FREE"], …]` → names by label.

    Raises:
        AnnotationError: an entry is broken, or stands there twice.
    """
    classes = ClassNames()
    labels = itertools.count()

    def parse(entry: Any, source: str) -> None:
        parts: Sequence[str] = [checked(part, str) for part in checked(entry, list)]
        classes.add(next(labels), "+".join(parts), source)

    read_entries(path, parse)
    return classes.in_order(path)
