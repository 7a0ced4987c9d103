"""UCF-101: official split files 1–3, or the 0-based lists released with DEVIAS."""

from __future__ import annotations

from pathlib import Path

from devias.data.datamodule import VideoDataModule
from devias.data.records import (
    AnnotationError,
    VideoRecord,
    class_number,
    names_in_order,
    numbered_lines,
)
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
        """`ApplyEyeMakeup`, `ApplyLipstick`, …"""
        if not self.released:
            return read_class_index(self.present(self.annotations / "classInd.txt"))
        records = self.read_split("train")
        return names_in_order({record.action: record.path.parent.name for record in records})

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


def read_class_index(path: Path) -> list[str]:
    """Read `classInd.txt` (`1 ApplyEyeMakeup`, 1-based) → names by 0-based label."""
    names: dict[int, str] = {}
    for line, text in numbered_lines(path):
        number, _, name = text.partition(" ")
        label = class_number(path, line, number) - 1
        if not name or label in names or label < 0:
            raise AnnotationError(path, line, f"expected '<number> <ClassName>', got {text!r}")
        names[label] = name
    return names_in_order(names)


def read_split_list(path: Path, videos: Path, names: list[str]) -> list[VideoRecord]:
    """Read `trainlist0x.txt` (1-based labels) or `testlist0x.txt` (none).

    The class is the folder's name: file names cannot serve, those of the folder
    `HandstandPushups` spell it `HandStandPushups`. Where a label stands too, it must agree.
    """
    labels = {name: label for label, name in enumerate(names)}
    records = []
    for line, text in numbered_lines(path):
        relative, _, number = text.partition(" ")
        folder = relative.partition("/")[0]
        if folder not in labels or "/" not in relative:
            raise AnnotationError(path, line, f"expected '<ClassName>/<video>.avi', got {text!r}")
        label = labels[folder]
        if number and class_number(path, line, number) - 1 != label:
            raise AnnotationError(
                path, line, f"{folder} is class {label + 1}, but the row says {number}"
            )
        records.append(VideoRecord(videos / relative, label, source=f"{path}:{line}"))
    return records


def read_released_list(path: Path, videos: Path) -> list[VideoRecord]:
    """Read the lists released with DEVIAS: `<ClassName>/<video>.avi 0`, 0-based."""
    records = []
    for line, text in numbered_lines(path):
        relative, _, number = text.rpartition(" ")
        if "/" not in relative:
            raise AnnotationError(
                path, line, f"expected '<ClassName>/<video>.avi <label>', got {text!r}"
            )
        label = class_number(path, line, number)
        records.append(VideoRecord(videos / relative, label, source=f"{path}:{line}"))
    return records
