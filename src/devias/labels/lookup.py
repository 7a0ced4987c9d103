"""Cached pseudo labels, found again for any clip of a video.

A video is labeled in windows: clips of the length and stride of training, evenly placed from its
first frame to its last, at most `hop` spans apart (`sampling.window_indices`). A window is labeled
as a clip of whole frames without augmentation would be, their short side resized to that of the
model's input; the scene model sees the central square. A clip then takes

- for each of its tubelets the frame mask of the tubelet nearest in time, of all windows;
- the clip mask and the scene of the window that starts nearest to it.

A clip that is a window therefore gets what would be made for it on the fly, up to the resolution at
which masks are kept, if it shows the whole (square) frame. Any other clip gets masks of tubelets
at most half a tubelet away, and the clip mask and scene of a clip at most `hop` / 2 spans away.
FAME takes its share of pixels, and its colors, from what it sees: here the whole frame, on the fly
the augmented crop.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from devias.data.datamodule import VideoDataModule
from devias.data.frame_indices import Indices, nearest_windows, window_indices
from devias.data.readers import VideoError
from devias.data.records import VideoRecord
from devias.labels.fingerprint import fingerprint
from devias.labels.on_device import BatchStage
from devias.labels.settings import Settings, describe, hash_of_lines
from devias.labels.storage import HOW_TO_COMPLETE, CacheError, LabelCache
from devias.structures import UNKNOWN, Requirement

log = logging.getLogger(__name__)


class ClipLabels:
    """Looks clips up in a cache.

    Args:
        cache: complete, of windows as its settings tell.
        masks: hand out masks.
        scenes: hand out scene logits.

    Raises:
        CacheError: the settings are not those of labeled clips.
    """

    def __init__(self, cache: LabelCache, masks: bool = True, scenes: bool = True) -> None:
        cache.require_clips()
        self.cache = cache
        settings = cache.settings
        self.masks = masks and settings["masks"] is not None
        self.scenes = scenes and settings["scene_teacher"] is not None
        self.num_tubelets: int = settings["tubelets"] if self.masks else 1
        """T', into which a clip divides."""
        self.has_clip_mask: bool = self.masks and settings["clip_masks"]
        """Whether the clip mask is one of its own and not the mean of the frame masks."""
        # Shared by the worker processes, so that each video's content is compared once a run.
        self._is_known = torch.zeros(settings["videos"], dtype=torch.bool).share_memory_()

    def __call__(
        self, number: int, path: Path, num_frames: int, indices: Indices
    ) -> tuple[Tensor | None, Tensor | None]:
        """Label clips of a video.

        Args:
            number: of the video in its list.
            path: of the video.
            num_frames: of the video.
            indices: `[V, T]` the frames that make the clips.

        Returns:
            Masks `[V, P, h, w]` bool, the clip mask first where there is one, then the T' frame
            masks; and scene logits `[V, N_S]`. `None` for what is not handed out.

        Raises:
            VideoError: the video could not be read when the labels were made, or cannot now.
            CacheError: the cache is damaged, or the video another one than it was.
        """
        settings = self.cache.settings
        windows = window_indices(
            num_frames, settings["clip_length"], settings["stride"], settings["hop"]
        )
        labels = self.cache.read(number, self.masks, self.scenes, num_frames, len(windows))
        if labels is None:
            raise VideoError(f"{path} could not be read when {self.cache.folder} was made")
        self._check_content(number, path, labels.fingerprint)
        step = settings["clip_length"] // self.num_tubelets
        found = [nearest_windows(clip, windows[:, ::step]) for clip in indices[:, ::step]]
        masks = scene_logits = None
        if labels.masks is not None:
            masks = torch.stack([self._pick(labels.masks, *places) for places in found])
        if labels.scene_logits is not None:
            scene_logits = labels.scene_logits[[nearest for nearest, _, _ in found]].float()
        return masks, scene_logits

    def video_scenes(self) -> list[int] | None:
        """The most probable scene of each video, over all its windows.

        `UNKNOWN` for one that could not be read when the labels were made; `None` where no scene
        logits are handed out.

        Raises:
            CacheError: the cache is damaged.
        """
        if not self.scenes:
            return None
        return [self._video_scene(number) for number in range(self.cache.settings["videos"])]

    def _video_scene(self, number: int) -> int:
        labels = self.cache.read(number, masks=False)
        if labels is None or labels.scene_logits is None:
            return UNKNOWN
        return int(labels.scene_logits.float().softmax(-1).mean(0).argmax())

    def _check_content(self, number: int, path: Path, labeled: bytes) -> None:
        """Raise `CacheError` where the video is another than the labeled one, if that is told."""
        if self._is_known[number]:
            return
        if labeled and fingerprint(path) != labeled:
            raise CacheError(
                f"{path} has other content than when it was labeled. "
                f"{self.cache.how_to_renew(number)}"
            )
        self._is_known[number] = True

    def _pick(self, masks: Tensor, nearest: int, windows: Indices, places: Indices) -> Tensor:
        """From the masks of all windows `[W, P, h, w]` those of a clip `[P, h, w]`."""
        if not self.has_clip_mask:
            return masks[windows, places]
        return torch.cat([masks[nearest, :1], masks[windows, places + 1]])


def label_sources(
    stage: BatchStage, data: VideoDataModule, records: Sequence[VideoRecord]
) -> Settings:
    """What the labels of a list of videos depend on, whoever makes them."""
    masks = stage.masks
    if masks is not None and Requirement.GROUND_TRUTH_MASKS in masks.requires:
        masks = None
    folder = os.path.commonpath([record.path.parent for record in records])
    videos = [
        f"{record.path.relative_to(folder).as_posix()} {record.start} {record.end}"
        for record in records
    ]
    return {
        "masks": describe(masks),
        "scene_teacher": describe(stage.scene_teacher),
        "clip_length": data.clip_length,
        "stride": data.stride,
        "image_size": data.image_size,
        "videos": len(videos),
        "list": hash_of_lines(videos),
    }


def find_labels(
    stage: BatchStage, data: VideoDataModule, split: str, records: Sequence[VideoRecord]
) -> ClipLabels:
    """The labels of a split in the data's `pseudo_cache`, as `stage` would make them.

    Raises:
        CacheError: as `open_labels`.
    """
    assert data.pseudo_cache is not None
    return open_labels(data.pseudo_cache / split, label_sources(stage, data, records))


def open_labels(folder: Path, sources: Settings) -> ClipLabels:
    """The labels in `folder`, for videos, sampling and makers as `sources` tells.

    What `sources` does not name or the cache does not hold, masks or scenes, is left out.

    Raises:
        CacheError: there is no cache, it is of other settings, or not complete.
    """
    cache = LabelCache.open(folder)
    cache.require_clips()
    used = {}
    for kind in ("masks", "scene_teacher"):
        used[kind] = sources[kind] is not None and cache.settings[kind] is not None
        if sources[kind] is not None and not used[kind]:
            log.info("%s holds no labels by the %s: they are made on the fly", folder, kind)
    cache.require({key: value for key, value in sources.items() if used.get(key, True)})
    if missing := cache.missing():
        raise CacheError(
            f"{folder} is not complete, {len(missing)} of its {cache.num_shards} files are "
            f"missing; {HOW_TO_COMPLETE}"
        )
    if cache.format == 1:
        log.warning(
            "%s was made by an earlier version, which kept no fingerprints: that videos were "
            "changed since shows only where they have another number of frames",
            folder,
        )
    return ClipLabels(cache, masks=used["masks"], scenes=used["scene_teacher"])
