"""Composing configurations and running the programs in tests."""

import os
import signal
import time
from pathlib import Path

import av
import lightning as L
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from devias.config import compose
from devias.models.architecture import describe
from devias.training.callbacks import LAYOUT, StoreConfig
from devias.training.data import RunData
from devias.training.module import ActionSceneModule
from devias.training.run import build_data, build_losses, build_module, build_stage

TINY_SYNTHETIC = (
    "experiment=synthetic",
    "logger=csv",
    "+data.settings.clips={train:16,val_seen:5,val_unseen:3,test_seen:5,test_unseen:7,scene_only:3}",
    "global_batch=4",
    "data.num_workers=0",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=2",
    "trainer.enable_progress_bar=false",
    "backbone.embed_dim=24",
    "backbone.depth=2",
    "backbone.num_heads=2",
    "backbone.weights=null",
)


def tiny_run(folder: Path, *overrides: str) -> DictConfig:
    """A synthetic run of seconds: its data lie in `folder/data`, its results in `folder/run`."""
    return compose(
        *TINY_SYNTHETIC,
        f"paths.datasets={folder / 'data'}",
        f"paths.run_dir={folder / 'run'}",
        "names.model=${hydra:runtime.choices.model}",
        *overrides,
    )


def run_parts(config: DictConfig) -> tuple[ActionSceneModule, RunData]:
    """Module and data of a run, without a Trainer."""
    losses = build_losses(config)
    data = build_data(config, build_stage(config, losses), batch_size=4)
    return build_module(config, data, losses), data


def save_untrained(config: DictConfig, path: Path) -> ActionSceneModule:
    """A checkpoint as the run of a configuration would write it, of the first weights."""
    module, _ = run_parts(config)
    content = {
        "state_dict": {f"model.{k}": v for k, v in module.model.state_dict().items()},
        StoreConfig.key: OmegaConf.to_yaml(config),
        StoreConfig.layout_key: LAYOUT,
        "architecture": describe(module.model),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return module


def write_text(path: Path, text: str = "") -> Path:
    """A file, and the folders it lies in; its ends of lines as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def write_frames(path: Path, frames: list[np.ndarray]) -> Path:
    """An h264 video at 10 frames a second of uint8 `[H, W, 3]` frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return path


class CrashAt(L.Callback):
    """Ends a run in the middle of an epoch, as Ctrl-C, a signal or a bug would."""

    def __init__(self, epoch, batch, error):
        self.place, self.error = (epoch, batch), error

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.place:
            if self.error.startswith("SIG"):  # SIGTERM lets the batch be finished first
                os.kill(os.getpid(), getattr(signal, self.error))
            else:
                raise {"bug": ZeroDivisionError, "Ctrl-C": KeyboardInterrupt}[self.error]


class SlowDown(L.Callback):
    """Makes batches last, so that something can happen to a run meanwhile."""

    def __init__(self, seconds):
        self.seconds = seconds

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        time.sleep(self.seconds)
