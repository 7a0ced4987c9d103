"""UCF-101: official split files 1–3, or the 0-based lists released with DEVIAS."""

from __future__ import annotations

import re
from pathlib import Path

from devias.data.annotations import RowError, class_number, read_records, relative_path, split_row
from devias.data.class_names import ClassNames, read_class_index
from devias.data.datamodule import VideoDataModule
from devias.data.records import VideoRecord
from devias.errors import ConfigError


class UCF101(VideoDataModule):
    """101 actions, 13,320 videos in 25 groups; scene labels come from a scene model.

    Expected below `root`, as the official archives unpack::

        UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi …
        ucfTrainTestlist/classInd.txt trainlist01.txt testlist01.txt …

    It has no validation list: like the paper's code, validation reads the test list.

    Args:
        split: official split 1, 2 or 3. `annotations` may also hold the released `train.csv
            test.csv`, which are of split 1.
    """

    videos_folder = "UCF-101"
    annotations_folder = "ucfTrainTestlist"
    recording_name = r"v_(\w+_g\d+)_c"

    def __init__(self, root: str, split: int = 1, **settings: object) -> None:
        super().__init__(root, **settings)  # type: ignore[arg-type]
        if split not in (1, 2, 3):
            raise ConfigError(f"UCF-101 has splits 1, 2 and 3, not data.split={split}")
        self.split = split
        self.released = (self.annotations / "train.csv").exists()
        if self.released and split != 1:
            raise ConfigError(f"the released lists cover split 1 only, not data.split={split}")

    @property
    def action_names(self) -> list[str]:
        """The names as `ApplyEyeMakeup`, `ApplyLipstick`."""
        if not self.released:
            return read_class_index(self.present(self.annotations / "classInd.txt"))
        lists = (self.annotations / f"{kind}.csv" for kind in ("train", "val", "test"))
        return read_released_names(*(path for path in lists if path.exists()))

    def read_split(self, split: str) -> list[VideoRecord]:
        """The videos of the training list, or of the test list."""
        kind = "train" if split == "train" else "test"
        if self.released:
            return read_released_list(self.present(self.annotations / f"{kind}.csv"), self.videos)
        path = self.present(self.annotations / f"{kind}list{self.split:02d}.txt")
        return read_split_list(path, self.videos, self.action_names)

    def how_to_get(self) -> str:
        """Where the videos and the split files are to be had."""
        return (
            "UCF-101 is at https://www.crcv.ucf.edu/research/data-sets/ucf101/: unpack UCF101.rar "
            f"so that {self.videos}/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi exists, and "
            f"UCF101TrainTestSplits-RecognitionTask.zip so that {self.annotations}/trainlist01.txt "
            "exists; or point data.root, data.videos and data.annotations to them."
        )


def read_split_list(path: Path, videos: Path, names: list[str]) -> list[VideoRecord]:
    """Read `trainlist0x.txt` (1-based labels) or `testlist0x.txt` (none).

    The class is the folder's name: file names cannot serve, those of the folder
    `HandstandPushups` spell it `HandStandPushups`. Where a label stands too, it must agree.

    Raises:
        AnnotationError: a row is broken, or a video stands there twice.
    """
    labels = {name: label for label, name in enumerate(names)}

    def parse(text: str, source: str) -> VideoRecord:
        row = re.fullmatch(r"([^\t]+?\.\w+)(?:[ \t]+(.+))?", text)
        relative = relative_path(row[1]) if row else text
        folder, slash, _ = relative.partition("/")
        if row is None or not slash or folder not in labels:
            raise RowError(f"expected '<ClassName>/<video>.avi', got {text!r}")
        label = labels[folder]
        if row[2] and class_number(row[2]) - 1 != label:
            raise RowError(f"{folder} is class {label + 1}, but the row says {row[2]}")
        return VideoRecord(f"{videos}/{relative}", label, source=source)

    return read_records(path, parse)


def read_released_list(
    path: Path, videos: Path, classes: ClassNames | None = None
) -> list[VideoRecord]:
    """Read the lists released with DEVIAS: `<ClassName>/<video>.avi 0`, 0-based.

    Args:
        path: of the list.
        videos: the folder its paths are relative to.
        classes: takes labels and folder names, which must be one to one; those of other lists may
            stand there.

    Raises:
        AnnotationError: a row is broken or contradicts another, or a video stands there twice.
    """
    classes = classes or ClassNames()

    def parse(text: str, source: str) -> VideoRecord:
        name, number = split_row(text, "<ClassName>/<video>.avi <label>")
        relative, label = relative_path(name), class_number(number)
        folder = relative.rpartition("/")[0].rpartition("/")[2]
        if not folder:
            raise RowError(f"expected '<ClassName>/<video>.avi <label>', got {text!r}")
        classes.add(label, folder, source)
        return VideoRecord(f"{videos}/{relative}", label, source=source)

    return read_records(path, parse)


def read_released_names(*lists: Path) -> list[str]:
    """Class names by label, from all released lists: one of them may lack a class.

    Raises:
        AnnotationError: as `read_released_list`, or labels have gaps.
    """
    classes = ClassNames()
    for path in lists:
        read_released_list(path, Path(), classes)
    return classes.in_order(*lists)
