"""The synthetic benchmark, and its pretraining family, as LightningDataModules."""

from __future__ import annotations

from collections.abc import Sequence

from devias.data.datamodule import MissingDataError, VideoDataModule
from devias.data.datasets.synthetic.annotations import read_split
from devias.data.datasets.synthetic.build import build
from devias.data.datasets.synthetic.plan import FAMILIES, SyntheticSettings, scene_at
from devias.data.records import VideoRecord


class Synthetic(VideoDataModule):
    """Drawn on first use into a folder of its own below `root`, then reused.

    Args:
        settings: what to draw; see `SyntheticSettings`.
    """

    def __init__(self, root: str, settings: SyntheticSettings, **others: object) -> None:
        super().__init__(root, **others)  # type: ignore[arg-type]
        self.settings = settings
        self.folder = self.root / settings.folder_name
        family = FAMILIES[settings.family]
        self._action_names, self._scene_names = list(family.actions), list(family.scenes)
        for kind in ("actions", "scenes"):
            drawn, built_for = len(getattr(family, kind)), getattr(self, f"num_{kind}")
            if drawn != built_for:
                raise ValueError(
                    f"the {settings.family} family has {drawn} {kind}, not data.num_{kind}="
                    f"{built_for}"
                )

    @property
    def val_splits(self) -> Sequence[str]:  # type: ignore[override]
        """Validation holds combinations seen and unseen, the latter other ones than the test."""
        return [split for split in self.settings.clips if split.startswith("val")]

    @property
    def test_splits(self) -> Sequence[str]:  # type: ignore[override]
        """Test splits; clips without an actor are one of them."""
        return [s for s in self.settings.clips if s != self.train_split and "val" not in s]

    seen_split = "test_seen"
    unseen_splits = ("test_unseen",)

    @property
    def bias_aligned_actions(self) -> list[int]:  # type: ignore[override]
        """For each scene the action that training mostly shows in it."""
        count = len(self._scene_names)
        homes = {scene_at(action, 0, count): action for action in range(len(self._action_names))}
        return [homes[scene] for scene in range(count)]

    @property
    def action_names(self) -> list[str]:
        """`waving`, …"""
        return self._action_names

    @property
    def scene_names(self) -> list[str]:
        """`water`, …"""
        return self._scene_names

    def prepare_data(self) -> None:
        """Draw the data set, unless it is there; concurrent runs wait for one another."""
        build(self.root, self.settings)

    def records(self, split: str) -> list[VideoRecord]:
        """The records of one split."""
        try:
            return read_split(self.folder, split)
        except FileNotFoundError as error:
            raise MissingDataError(
                f"{error.filename} does not exist.\n{self.how_to_get()}"
            ) from error

    def how_to_get(self) -> str:
        """Nothing is downloaded."""
        return f"The synthetic benchmark is drawn into {self.folder} by prepare_data()."
