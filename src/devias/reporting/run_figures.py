"""Figures of a run: a callback that draws while the model is tested."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from matplotlib.figure import Figure

from devias.evaluation.metrics import confusion
from devias.evaluation.protocol import Protocol
from devias.reporting.plots.charts import confusion_figure
from devias.reporting.plots.clips import clip_figure
from devias.reporting.plots.samples import ClipSample, samples_from
from devias.reporting.plots.style import save_figure
from devias.structures import ClipBatch
from devias.training.data import RunData
from devias.training.module import ActionSceneModule


class RunFigures(L.Callback):
    """Draws what the model looks at, and what it answers in which scene.

    Figures go into `directory` and to every logger that takes images.

    Args:
        directory: of the PNG files.
        clips_per_set: rows of a set in the clip figure, spread evenly over the set.
        title: what the run is called.
    """

    def __init__(self, directory: str, clips_per_set: int = 4, title: str = "") -> None:
        self.directory = Path(directory)
        self.title = title
        self.clips_per_set = clips_per_set

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget an earlier test."""
        self._samples: dict[str, list[ClipSample]] = defaultdict(list)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the videos that fall on the figure's places."""
        data = _data(trainer)
        eval_set = data.protocol.sets[dataloader_idx]
        last = len(trainer.test_dataloaders[dataloader_idx].dataset) - 1  # type: ignore[index]
        # Spread over the set; annotation files often list class after class or take turns.
        wanted = set(np.linspace(0, last, self.clips_per_set).astype(int))
        wanted -= batch.errors.keys()
        videos = [i for i, index in enumerate(batch.index.tolist()) if index in wanted]
        if videos:
            owner = data.owner(eval_set)
            self._samples[eval_set.name] += samples_from(
                owner.displayable(batch),
                **outputs,
                action_names=owner.action_names,
                scene_names=owner.scene_names,
                videos=videos,
            )

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw, write and log."""
        if not trainer.is_global_zero:
            return
        data = _data(trainer)
        figures: dict[str, Figure] = {
            "clips": clip_figure(
                {title: self._samples[name] for name, title in _titles(data.protocol).items()},
                title=self.title,
            )
        }
        assert isinstance(pl_module, ActionSceneModule)
        for s in data.protocol.sets:
            if s.combination == "unseen" and "action" in s.tasks:
                owner = data.owner(s)
                figures[f"answers_{s.name}"] = confusion_figure(
                    confusion(
                        pl_module.predictions[s.name], owner.num_scenes, owner.num_actions, "scene"
                    ),
                    owner.action_names,
                    f"Actions answered in each scene, {s.name.replace('_', ' ')}",
                    row_names=owner.scene_names,
                    row_title="scene",
                    marks=data.reference(s).usual_actions,
                )
        for name, figure in figures.items():
            path = self.directory / f"{name}.png"
            save_figure(figure, path)
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(key=f"figures/{name}", images=[str(path)])


def _titles(protocol: Protocol) -> dict[str, str]:
    """What a figure calls the test sets: the only one of its combination by that."""
    combinations = [s.combination for s in protocol.sets]
    return {
        s.name: f"{s.combination.capitalize()} combinations"
        if s.combination and combinations.count(s.combination) == 1
        else s.name.replace("_", " ").capitalize()
        for s in protocol.sets
    }


def _data(trainer: L.Trainer) -> RunData:
    """The data of the run, which knows class names and evaluation sets."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, RunData)
    return data
