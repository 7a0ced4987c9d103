"""Figures of a run: a callback that draws while the model is tested."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from matplotlib.figure import Figure

from devias.data.datamodule import VideoDataModule
from devias.evaluation.metrics import ActionConfusion
from devias.files import save_figure
from devias.reporting.plots.charts import confusion_figure
from devias.reporting.plots.clips import clip_figure
from devias.reporting.plots.samples import ClipSample, samples_from
from devias.structures import ClipBatch


class RunFigures(L.Callback):
    """Draws what the model looks at, and what it answers in which scene.

    Figures go into `directory` and to every logger that takes images.

    Args:
        directory: of the PNG files.
        clips_per_split: rows of a split in the clip figure, spread evenly over the split.
        title: what the run is called.
    """

    def __init__(self, directory: str, clips_per_split: int = 4, title: str = "") -> None:
        self.directory = Path(directory)
        self.title = title
        self.clips_per_split = clips_per_split

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget an earlier test."""
        data = _datamodule(trainer)
        self._samples: dict[str, list[ClipSample]] = defaultdict(list)
        self._confusion = {
            split: ActionConfusion(data.num_actions, data.num_scenes, rows="scene").to(
                pl_module.device
            )
            for split in data.unseen_splits
        }

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the videos that fall on the figure's places and count the answers."""
        data = _datamodule(trainer)
        split, normalize = data.test_splits[dataloader_idx], data.stage.normalize
        if split in self._confusion:
            self._confusion[split].update(outputs["scores"], batch)
        last = len(trainer.test_dataloaders[dataloader_idx].dataset) - 1  # type: ignore[index]
        # Spread over the split; annotation files often list class after class or take turns.
        wanted = set(np.linspace(0, last, self.clips_per_split).astype(int))
        videos = [i for i, index in enumerate(batch.index.tolist()) if index in wanted]
        if videos:
            self._samples[split] += samples_from(
                data.stage.masked(batch),
                **outputs,
                mean=normalize.mean,
                std=normalize.std,
                action_names=data.action_names,
                scene_names=data.scene_names,
                videos=videos,
            )

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw, write and log."""
        data = _datamodule(trainer)
        titles = {data.seen_split: "Seen combinations"}
        titles |= dict.fromkeys(data.unseen_splits[:1], "Unseen combinations")
        figures: dict[str, Figure] = {
            "clips": clip_figure(
                {
                    titles.get(split, split.replace("_", " ").capitalize()): samples
                    for split, samples in self._samples.items()
                },
                title=self.title,
            )
        }
        for split, confusion in self._confusion.items():
            matrix = confusion.compute().cpu().numpy()
            figures[f"answers_{split}"] = confusion_figure(
                matrix,
                data.action_names,
                f"Actions answered in each scene, {split.replace('_', ' ')}",
                row_names=data.scene_names,
                row_title="scene",
                marks=data.bias_aligned_actions,
            )
        if not trainer.is_global_zero:
            return
        for name, figure in figures.items():
            path = self.directory / f"{name}.png"
            save_figure(figure, path)
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(key=f"figures/{name}", images=[str(path)])


def _datamodule(trainer: L.Trainer) -> VideoDataModule:
    """The data module of the run, which knows class names and splits."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, VideoDataModule)
    return data
