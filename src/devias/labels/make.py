"""Makes the pseudo labels of whole splits once; `labels/lookup.py` says what they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from devias.data.datamodule import VideoDataModule
from devias.data.dataset import TooManyBadVideos, read_frames
from devias.data.frame_indices import Indices, window_indices
from devias.data.readers import VideoError
from devias.data.records import PackedRecords, VideoRecord
from devias.data.transforms import resize_short_side, short_side_size
from devias.errors import ConfigError
from devias.labels.fingerprint import fingerprint
from devias.labels.lookup import label_sources
from devias.labels.on_device import BatchStage
from devias.labels.settings import Settings
from devias.labels.storage import LabelCache, VideoLabels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSettings:
    """What is kept of the labels, and how."""

    hop: float = 1.0
    """The largest distance of neighboring windows, in spans of a clip."""
    mask_size: int = 112
    """Short side of the masks, in pixels; never more than that of the model's input."""
    shard_size: int = 256
    """Videos in one file."""


@dataclass
class WindowedVideo:
    """The frames of a video that its windows show."""

    number: int
    num_frames: int
    images: Tensor
    """`[F, 3, H, W]` uint8, of the model's short side."""
    windows: Tensor
    """`[W, T]` places in `images`."""
    fingerprint: bytes
    """Of the file."""


class WindowedVideos(Dataset[WindowedVideo | VideoError]):
    """Videos by number, each decoded once; one that cannot be read comes as its error.

    A worker holds at least one video's frames of about 0.2 MB each (224 × 299).
    """

    def __init__(
        self, records: Sequence[VideoRecord], settings: Settings, within: Sequence[str] = ()
    ) -> None:
        self.records = PackedRecords(records)
        self.settings, self.within = settings, within

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, number: int) -> WindowedVideo | VideoError:
        record = self.records[number]
        try:
            frames, chosen, segment = read_frames(
                record, lambda n: np.unique(self._windows(n)), self.within
            )
            content = fingerprint(record.path)
        except VideoError as error:
            return VideoError(f"{error} (annotated at {record.source})")
        images = resize_short_side(frames.permute(0, 3, 1, 2), self.settings["image_size"])
        windows = np.searchsorted(chosen, self._windows(len(segment)))
        return WindowedVideo(number, len(segment), images, torch.from_numpy(windows), content)

    def _windows(self, num_frames: int) -> Indices:
        settings = self.settings
        return window_indices(
            num_frames, settings["clip_length"], settings["stride"], settings["hop"]
        )


class WindowLabeler:
    """Labels the windows of videos on a device.

    Args:
        stage: its mask extractor and scene model are used.
        settings: of the cache; its masks may be a clip mask and T' frame masks, or these alone.
        device: where to compute.
        clips_at_once: windows that go through the networks together.
        precision: as the Trainer names it; `bf16-mixed` runs the networks in bfloat16.
    """

    def __init__(
        self,
        stage: BatchStage,
        settings: Settings,
        device: torch.device | str = "cpu",
        clips_at_once: int = 24,
        precision: str = "32-true",
    ) -> None:
        self.stage = stage.to(device).eval()
        self.settings = settings
        self.device = torch.device(device)
        self.clips_at_once = clips_at_once
        self.bfloat16 = str(precision).startswith("bf16")

    @torch.no_grad()
    def __call__(self, video: WindowedVideo) -> VideoLabels:
        """All labels of a video, on the CPU."""
        images = video.images.to(self.device)
        masks, logits = [], []
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            for windows in video.windows.to(self.device).split(self.clips_at_once):
                clips = images[windows].transpose(1, 2).float().div_(255)
                if self.settings["masks"]:
                    masks.append(self._masks(clips))
                if self.settings["scene_teacher"]:
                    logits.append(self._scene_logits(clips))
        return VideoLabels(
            video.num_frames,
            torch.cat(masks).cpu() if masks else None,
            # Half precision has its lowest number for a class without any probability.
            torch.cat(logits).float().clamp_min(-65504).half().cpu() if logits else None,
            video.fingerprint,
        )

    def _masks(self, clips: Tensor) -> Tensor:
        """Clips `[W, 3, T, H, W]` → what is kept, bool `[W, P, h, w]`."""
        clip_mask, frame_masks = self.stage.masks(clips)  # type: ignore[misc]
        if self.settings["clip_masks"]:
            frame_masks = torch.cat([clip_mask[:, None], frame_masks], dim=1)
        height, width = clips.shape[-2:]
        size = short_side_size(height, width, self.settings["mask_size"])
        return F.interpolate(frame_masks.float(), size, mode="area") >= 0.5

    def _scene_logits(self, clips: Tensor) -> Tensor:
        """The scene model sees the central square, as one view of a test video shows it."""
        size = min(clips.shape[-2:])
        top, left = (clips.shape[-2] - size) // 2, (clips.shape[-1] - size) // 2
        square = clips[..., top : top + size, left : left + size]
        return self.stage.scene_teacher(square)  # type: ignore[misc]


def cache_settings(sources: Settings, stage: BatchStage, settings: LabelSettings) -> Settings:
    """All that a cache depends on.

    A clip mask that is the mean of the frame masks is not kept: it is made anew from those of the
    clip. Whether it is, and how many scenes there are, a clip of noise tells.

    Args:
        sources: of `label_sources`.
        stage: on any device.
        settings: what is kept.

    Raises:
        ConfigError: there is nothing to make: neither masks nor scenes.
    """
    if sources["masks"] is None and sources["scene_teacher"] is None:
        raise ConfigError(
            "there are no labels to make: choose masks=fame or another that makes masks, or "
            "scene_teacher=places365 or another scene model"
        )
    size, length = sources["image_size"], sources["clip_length"]
    noise = torch.rand(1, 3, length, size, size, device=stage.normalize.mean.device)
    layout: Settings = {"tubelets": 0, "clip_masks": False, "scene_classes": 0}
    if sources["scene_teacher"]:
        layout["scene_classes"] = stage.scene_teacher(noise).shape[1]  # type: ignore[misc]
    if sources["masks"]:
        clip_mask, frame_masks = stage.masks(noise)  # type: ignore[misc]
        is_mean = torch.allclose(clip_mask, frame_masks.mean(1))
        layout |= {"tubelets": frame_masks.shape[1], "clip_masks": not is_mean}
    return {
        **sources,
        **layout,
        "hop": settings.hop,
        "mask_size": min(settings.mask_size, sources["image_size"]),
        "shard_size": settings.shard_size,
    }


def label_split(
    stage: BatchStage,
    data: VideoDataModule,
    split: str,
    settings: LabelSettings,
    device: torch.device | str = "cpu",
    precision: str = "32-true",
    rank: int = 0,
    world_size: int = 1,
) -> LabelCache:
    """Make the pseudo labels of a split that are not there yet, this rank's share of the files.

    They go to `data.pseudo_cache / split`. A video that cannot be read is named in the log and
    has no labels; training replaces it then, as it does every unreadable video.

    Raises:
        CacheError: the folder holds labels of other settings, or cannot be written; or the scene
            model gives NaN.
        TooManyBadVideos: more than `data.max_bad_share` of the videos cannot be read.
    """
    assert data.pseudo_cache is not None
    records = data.records(split)
    sources = label_sources(stage, data, records)
    stage = stage.to(device)
    cache = LabelCache.create(data.pseudo_cache / split, cache_settings(sources, stage, settings))
    todo = [shard for shard in cache.unfinished() if shard % world_size == rank]
    numbers = [number for shard in todo for number in cache.videos_of(shard)]
    log.info(
        "%s: %d of %d videos to label into %s", split, len(numbers), len(records), cache.folder
    )
    loader = DataLoader(
        WindowedVideos(records, cache.settings, data.real_folders),
        batch_size=None,
        sampler=numbers,
        num_workers=data.num_workers,
        pin_memory=False,
    )
    make = WindowLabeler(stage, cache.settings, device, data.eval_batch_size, precision)
    videos = iter(loader)
    done, bad, start = 0, 0, time.monotonic()
    for shard in todo:
        own = cache.videos_of(shard)
        labels: dict[int, VideoLabels | None] = {}
        for number, video in zip(own, islice(videos, len(own)), strict=True):
            labels[number] = None if isinstance(video, VideoError) else make(video)
            if isinstance(video, VideoError):
                bad += 1
                log.warning("not labeled: %s", video)
                if bad > data.max_bad_share * len(records):
                    raise TooManyBadVideos(
                        f"{bad} of {len(records)} videos could not be read, more than the allowed "
                        f"share data.max_bad_share={data.max_bad_share}; the last: {video}"
                    )
        cache.write(shard, labels)
        done += len(own)
        rate = done / (time.monotonic() - start)
        left = timedelta(seconds=round((len(numbers) - done) / rate))
        log.info(
            "%s: %d of %d videos, %.1f a second, %s left", split, done, len(numbers), rate, left
        )
    return cache
