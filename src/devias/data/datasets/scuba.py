"""SCUBA: test videos whose actors stand before a still picture; SCUFO: single frames of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from devias.data.annotations import RowError, class_number, read_records, relative_path, split_row
from devias.data.datamodule import VideoDataModule
from devias.data.readers import open_frames
from devias.data.readers.base import DEFAULT_RATE
from devias.data.records import VideoRecord

LISTS = ("testlist01.txt", "test.csv")
VERSIONS = ("places", "vqgan", "sinusoidal")


class SCUBA(VideoDataModule):
    """Actors of UCF-101's or Kinetics' test videos, each before five pictures; actions only.

    Splits are `ucf101-places`, `kinetics-vqgan`, `kinetics-sinusoidal` and so on: the training
    data, and what the pictures are. Expected below `root`, as frames::

        ucf101-places/v_WalkingWithDog_g02_c04__0/frame000001.jpg …
        kinetics-places/val/6IbvOJxXnOo_000047_000057__0/000001.jpg …
        annotations/ucf101/testlist01.txt    annotations/kinetics/testlist01.txt

    The lists are those of StillMix, or DEVIAS's copies, `test.csv`. Labels are those of the
    training data. UCF-101's actors are cut out by boxes, so part of their own scene is left.

    Args:
        still: SCUFO instead: one frame, shown all the time. What a model still answers, it has not
            from motion: low is good. SCUFO's authors draw the frame at random, do not publish
            which, and find that it matters little; here it is the middle one.
    """

    splits = tuple(
        f"{source}-{version}" for source in ("ucf101", "kinetics") for version in VERSIONS
    )
    annotations_folder = "annotations"

    def __init__(self, root: str, still: bool = False, **settings: object) -> None:
        super().__init__(root, **settings)  # type: ignore[arg-type]
        self.still = still

    @property
    def action_names(self) -> list[str]:
        """Numbers: the lists have no names."""
        return [f"action {label}" for label in range(self.num_actions)]

    def read_split(self, split: str) -> list[VideoRecord]:
        """The clips before one kind of picture."""
        source = split.partition("-")[0]
        lists = [self.annotations / source / name for name in LISTS]
        path = next((path for path in lists if path.exists()), lists[0])
        return read_clip_list(self.present(path), self.present(self.root / split), self.still)

    def how_to_get(self) -> str:
        """Where the frames and the lists are to be had."""
        return (
            "SCUBA is at https://github.com/lihaoxin05/StillMix: unpack UCF101-SCUBA-*.tar.gz and "
            f"K400-SCUBA-*.tar.gz so that {self.root}/ucf101-places and {self.root}/kinetics-vqgan "
            f"hold folders of frames, and put the lists into {self.annotations}/ucf101 and "
            f"{self.annotations}/kinetics; the keys root and annotations of the evaluation set "
            "say where they are."
        )


def read_clip_list(path: Path, videos: Path, still: bool = False) -> list[VideoRecord]:
    """Read `v_WalkingWithDog_g02_c04__0 240 97`: folder of frames, their number, 0-based label.

    The number is held against one folder alone, since there are thousands on a network disk.

    Args:
        path: of the list.
        videos: the folder its paths are relative to.
        still: take the middle frame of each folder instead of all.

    Raises:
        AnnotationError: a row is broken, a folder stands there twice, or the first one that is
            there has another number of frames than its row says.
    """
    checked = False

    def parse(text: str, source: str) -> VideoRecord:
        nonlocal checked
        name, number, label = split_row(text, "<video>__<number> <frames> <label>")
        folder, frames = videos / relative_path(name), class_number(number)
        if not frames:
            raise RowError("a clip without frames")
        if not checked and folder.exists():
            checked = True
            if (found := open_frames(folder).num_frames) != frames:
                raise RowError(f"{folder} has {found} frames, but the row says {frames}")
        record = VideoRecord(folder, class_number(label), source=source)
        if not still:
            return record
        middle = (frames - 1) // 2
        return replace(record, start=middle / DEFAULT_RATE, end=(middle + 1) / DEFAULT_RATE)

    return read_records(path, parse)
