"""The synthetic benchmark, and its pretraining family, as LightningDataModules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from devias.data.datamodule import VideoDataModule
from devias.data.datasets.synthetic.annotations import read_split
from devias.data.datasets.synthetic.build import build
from devias.data.datasets.synthetic.plan import FAMILIES, SyntheticSettings, scene_at
from devias.data.records import VideoRecord
from devias.errors import ConfigError


class Synthetic(VideoDataModule):
    """Drawn on first use into a folder of its own below `root`, then reused.

    Args:
        settings: what to draw; see `SyntheticSettings`.
    """

    has_ground_truth_masks = True

    def __init__(self, root: str, settings: SyntheticSettings, **others: object) -> None:
        super().__init__(root, **others)  # type: ignore[arg-type]
        self.settings = settings
        self.folder = self.root / settings.folder_name
        self.family = FAMILIES[settings.family]
        for kind in ("actions", "scenes"):
            drawn, built_for = len(getattr(self.family, kind)), getattr(self, f"num_{kind}")
            if drawn != built_for:
                raise ConfigError(
                    f"the {settings.family} family has {drawn} {kind}, not data.num_{kind}="
                    f"{built_for}"
                )

    @property
    def splits(self) -> Sequence[str]:  # type: ignore[override]
        """Combinations seen and unseen, for validation and test; clips without an actor."""
        return list(self.settings.clips)

    @property
    def bias_aligned_actions(self) -> list[int]:  # type: ignore[override]
        """For each scene the action that training mostly shows in it."""
        count = len(self.family.scenes)
        aligned = {scene_at(action, 0, count): action for action in range(self.num_actions)}
        return [aligned[scene] for scene in range(count)]

    @property
    def action_names(self) -> list[str]:
        """The names as `waving`."""
        return list(self.family.actions)

    @property
    def scene_names(self) -> list[str]:
        """The names as `water`."""
        return list(self.family.scenes)

    def prepare_data(self) -> None:
        """Draw the data set, unless it is there; concurrent runs wait for one another."""
        build(self.root, self.settings)

    def read_split(self, split: str) -> list[VideoRecord]:
        """The records of one split."""
        self.present(self.folder)
        return read_split(self.folder, split)

    def missing(self, splits: Iterable[str]) -> list[str]:
        """Nothing: it is drawn where it is not."""
        return []

    def how_to_get(self) -> str:
        """Nothing is downloaded."""
        return f"The synthetic benchmark is drawn into {self.folder} by prepare_data()."
