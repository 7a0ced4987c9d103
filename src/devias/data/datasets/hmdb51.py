"""HMDB51: official split files 1–3, or the 0-based lists released with DEVIAS."""

from __future__ import annotations

from pathlib import Path

from devias.data.annotations import RowError, read_records, relative_path, split_row
from devias.data.numbered_splits import NumberedSplitsDataModule
from devias.data.records import VideoRecord

USES = {"0": "", "1": "train", "2": "test"}


class HMDB51(NumberedSplitsDataModule):
    """51 actions, 3,570 training and 1,530 test videos; scene labels come from a scene model.

    Expected below `root`, as the official archives unpack, an archive a class::

        hmdb51_org/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi …
        testTrainMulti_7030_splits/brush_hair_test_split1.txt …

    The folder of lists may hold the released `train1.csv test1.csv` instead.
    """

    videos_folder = "hmdb51_org"
    annotations_folder = "testTrainMulti_7030_splits"
    recording_name = r"(.+)_[fhlu]_(?:cm|nm)_np\d_"

    def official_names(self) -> list[str]:
        """The names as `brush_hair`, `cartwheel`, sorted."""
        return sorted(path.name.removesuffix(self._ending) for path in self._files())

    def read_official(self, kind: str) -> list[VideoRecord]:
        """The videos of one kind from the split's files, one a class."""
        names = self.official_names()
        files = (self.annotations / f"{name}{self._ending}" for name in names)
        lists = [
            read_class_list(path, self.videos / name, label)
            for label, (path, name) in enumerate(zip(files, names, strict=True))
        ]
        return [record for records in lists for record in records[kind]]

    def how_to_get(self) -> str:
        """Where the videos and the split files are to be had."""
        return (
            "HMDB51 is at https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-"
            "database/: unpack hmdb51_org.rar and the archives in it so that "
            f"{self.videos}/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi exists, and "
            f"test_train_splits.rar so that {self.annotations}/brush_hair_test_split1.txt exists; "
            "or point data.root, data.videos and data.annotations to them."
        )

    @property
    def _ending(self) -> str:
        return f"_test_split{self.split}.txt"

    def _files(self) -> list[Path]:
        """The official files of the split."""
        some = self.annotations / f"brush_hair{self._ending}"
        return sorted(self.annotations.glob(f"*{self._ending}")) or [self.present(some)]


def read_class_list(path: Path, videos: Path, label: int) -> dict[str, list[VideoRecord]]:
    """Read `April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1`: 1 for training, 2 for test, 0 unused.

    Args:
        path: of a class's list.
        videos: its folder.
        label: of the class.

    Returns:
        The videos for `train` and `test`.

    Raises:
        AnnotationError: a row is broken, or a video stands there twice.
    """
    records: dict[str, list[VideoRecord]] = {use: [] for use in USES.values()}

    def parse(text: str, source: str) -> VideoRecord:
        name, number = split_row(text, "<video>.avi <use>")
        if number not in USES:
            raise RowError(f"expected 0, 1 or 2 behind the video, got {number!r}")
        record = VideoRecord(f"{videos}/{relative_path(name)}", label, source=source)
        records[USES[number]].append(record)
        return record

    read_records(path, parse)
    return records
