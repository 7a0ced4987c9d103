"""Something-Something V2: the official files, or the lists of 87 classes released with DEVIAS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devias.data.annotations import RowError, class_number, relative_path
from devias.data.class_names import ClassNames
from devias.data.json_lists import checked, field, read_entry_records, read_members
from devias.data.path_lists import PathListDataModule
from devias.data.records import VideoRecord
from devias.errors import ConfigError

OFFICIAL = {"train": "train", "val": "validation"}


class SomethingSomethingV2(PathListDataModule):
    """174 actions with objects, 168,913 training and 24,777 validation videos; scenes by a model.

    Expected below `root`, as the official archives unpack::

        20bn-something-something-v2/45.webm …
        annotations/something-something-v2-train.json …-validation.json …-labels.json

    The lists may be called `train.json validation.json labels.json` as well. In their place may
    lie the released `train.csv val.csv`, with 80,303 and 11,341 videos of 87 classes
    (`data.num_actions=87`) whose names are numbers unless a file beside them has others. They say
    `.mp4`, so that the official videos take `data.suffix=.webm`.

    Validation and test read the validation list: the test list has no labels. Videos are never
    flipped, since "from left to right" is a class.
    """

    videos_folder = "20bn-something-something-v2"

    def __init__(self, root: str, *, horizontal_flip: float = 0.0, **settings: object) -> None:
        if horizontal_flip:
            raise ConfigError(
                "data.horizontal_flip must be 0, since Something-Something tells left from right, "
                f"not {horizontal_flip}"
            )
        super().__init__(root, horizontal_flip=0.0, **settings)  # type: ignore[arg-type]

    def official_names(self) -> list[str]:
        """The names as `Putting something onto something`."""
        return read_labels(self._official("labels"))

    def read_official(self, name: str) -> list[VideoRecord]:
        """The videos of `train` or `val`."""
        return read_official_list(
            self._official(OFFICIAL[name]), self.videos, self.official_names()
        )

    def how_to_get(self) -> str:
        """Where the videos and the lists are to be had."""
        return (
            "Something-Something V2 is at https://www.qualcomm.com/developer/software/"
            f"something-something-v-2-dataset: unpack it so that {self.videos}/45.webm exists and "
            "its train.json, validation.json and labels.json, or DEVIAS's train.csv and val.csv, "
            f"lie in {self.annotations}; or point data.root, data.videos and data.annotations to "
            "them."
        )

    def _official(self, name: str) -> Path:
        """An official file, under either of its names."""
        short = self.annotations / f"{name}.json"
        return (
            short
            if short.exists()
            else self.present(self.annotations / f"something-something-v2-{name}.json")
        )


def read_official_list(path: Path, videos: Path, names: Sequence[str]) -> list[VideoRecord]:
    """Read `[{"id": "45", "template": "Putting [something] onto [something]", …}, …]`.

    Args:
        path: of the list.
        videos: the folder of `<id>.webm`.
        names: by label, which are the templates without brackets.

    Raises:
        AnnotationError: an entry is broken, or a video stands there twice.
    """
    labels = {name: label for label, name in enumerate(names)}

    def parse(entry: Any, source: str) -> VideoRecord:
        number, template = field(entry, "id", str), field(entry, "template", str)
        name = template.replace("[", "").replace("]", "")
        if name not in labels:
            raise RowError(f"there is no class {name!r}")
        file = f"{videos}/{relative_path(f'{number}.webm')}"
        return VideoRecord(file, labels[name], source=source)

    return read_entry_records(path, parse)


def read_labels(path: Path) -> list[str]:
    """Read `{"Approaching something with your camera": "0", …}` → names by label.

    Raises:
        AnnotationError: a member is broken, or labels and names are not one to one or have gaps.
    """
    classes = ClassNames()

    def parse(member: tuple[str, Any], source: str) -> None:
        name, number = member
        classes.add(class_number(checked(number, str)), name, source)

    read_members(path, parse)
    return classes.in_order(path)
