"""Places365: the images that a scene model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from devias.data.annotations import class_number, read_records, relative_path, split_row
from devias.data.datamodule import VideoDataModule
from devias.data.records import VideoRecord
from devias.data.scene_classes import read_categories
from devias.structures import ClipBatch


class Places365(VideoDataModule):
    """1.8 million training and 36,500 validation images of 365 scenes, as still clips.

    Expected below `root`, as the official archives unpack::

        data_256/a/airfield/00000001.jpg …      places365_train_standard.txt
        val_256/Places365_val_00000001.jpg …    places365_val.txt
        categories_places365.txt

    An image is read, augmented and sent to the device once, and repeated there. The labels of the
    test images are not public, so that the test reads the validation list.

    Args:
        clip_length: T, how often an image is repeated.
        train_images, val_images: other folders than the above.
        train_list, val_list: other lists; see `read_image_list`.
        categories: another file of class names.
    """

    def __init__(
        self,
        root: str,
        clip_length: int = 16,
        train_images: str | None = None,
        val_images: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        categories: str | None = None,
        **settings: object,
    ) -> None:
        super().__init__(root, clip_length=1, **settings)  # type: ignore[arg-type]
        self.num_repeats = clip_length
        self.images = {
            "train": Path(train_images or self.root / "data_256"),
            "val": Path(val_images or self.root / "val_256"),
        }
        self.images["test"] = self.images["val"]
        self.lists = {
            "train": Path(train_list or self.root / "places365_train_standard.txt"),
            "val": Path(val_list or self.root / "places365_val.txt"),
        }
        self.lists["test"] = self.lists["val"]
        self.categories = Path(categories or self.root / "categories_places365.txt")

    @property
    def input_size(self) -> tuple[int, int, int]:
        """`(T, H, W)` of the clips that images become on the device."""
        return self.num_repeats, self.image_size, self.image_size

    @property
    def folders(self) -> Sequence[Path]:
        """Those of training and validation images."""
        return self.root, *self.images.values()

    @property
    def action_names(self) -> list[str]:
        """None: images show no action."""
        return []

    @property
    def scene_names(self) -> list[str]:
        """The names as `airfield`, `airplane_cabin`."""
        return read_categories(self.present(self.categories))

    def read_split(self, split: str) -> list[VideoRecord]:
        """The images of a list."""
        return read_image_list(self.present(self.lists[split]), self.images[split])

    def on_after_batch_transfer(self, batch: ClipBatch, dataloader_idx: int) -> ClipBatch:
        """Repeat the images on the device, then as for every dataset."""
        video = batch.video.expand(-1, -1, self.num_repeats, -1, -1)
        return super().on_after_batch_transfer(replace(batch, video=video), dataloader_idx)

    def how_to_get(self) -> str:
        """Where images and lists are to be had."""
        return (
            "Places365-Standard is at http://places2.csail.mit.edu/download.html: unpack the small "
            f"images so that {self.images['train']}/a/airfield/00000001.jpg and "
            f"{self.images['val']}/Places365_val_00000001.jpg exist, and the file list so that "
            f"{self.lists['train']} exists; or point data.root, data.train_images, "
            "data.train_list, … to them."
        )


def read_image_list(path: Path, images: Path) -> list[VideoRecord]:
    """Read `/a/airfield/00000001.jpg 0` or `Places365_val_00028627.jpg,165`, labels from 0.

    Args:
        path: of the list.
        images: the folder its paths are relative to, also those that begin with a slash.

    Raises:
        AnnotationError: a row is broken, or an image stands there twice.
    """

    def parse(text: str, source: str) -> VideoRecord:
        name, label = split_row(text, "<image> <label>")
        image = f"{images}/{relative_path(name.removeprefix('/'))}"
        return VideoRecord(image, scene=class_number(label), source=source)

    return read_records(path, parse)
