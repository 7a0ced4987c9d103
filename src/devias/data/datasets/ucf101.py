"""UCF-101: official split files 1–3, or the 0-based lists released with DEVIAS."""

from __future__ import annotations

import re
from pathlib import Path

from devias.data.annotations import RowError, class_number, read_records, relative_path
from devias.data.class_names import read_class_index
from devias.data.numbered_splits import NumberedSplitsDataModule
from devias.data.records import VideoRecord


class UCF101(NumberedSplitsDataModule):
    """101 actions, 13,320 videos in 25 groups; scene labels come from a scene model.

    Expected below `root`, as the official archives unpack::

        UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi …
        ucfTrainTestlist/classInd.txt trainlist01.txt testlist01.txt …

    The folder of lists may hold the released `train.csv test.csv` instead, which are of split 1.
    """

    videos_folder = "UCF-101"
    annotations_folder = "ucfTrainTestlist"
    recording_name = r"v_(\w+_g\d+)_c"

    def official_names(self) -> list[str]:
        """The names as `ApplyEyeMakeup`, `ApplyLipstick`."""
        return read_class_index(self.present(self.annotations / "classInd.txt"))

    def read_official(self, kind: str) -> list[VideoRecord]:
        """The videos of `trainlist01.txt` or `testlist01.txt`, likewise of other splits."""
        path = self.present(self.annotations / f"{kind}list{self.split:02d}.txt")
        return read_split_list(path, self.videos, self.official_names())

    @property
    def released(self) -> bool:
        """Whether there are released lists of the split, which can only be the first."""
        return self.split == 1 and super().released

    def released_list(self, kind: str) -> Path:
        """Where the released list `train` or `test` would lie."""
        return self.annotations / f"{kind}.csv"

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
