"""Pseudo labels on disk: made once, refused where anything they depend on has changed.

A cache is a folder of `manifest.json`, which tells the settings, and one file for every
`shard_size` videos. A shard appears complete or not at all, so a run that was stopped continues
where it was, and runs on several machines may fill the shards between them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from devias.errors import DeviasError
from devias.labels.settings import Settings, differences

MANIFEST = "manifest.json"
FORMAT = 1
"""Of the files; another number is refused."""
HOW_TO_COMPLETE = "the command that made the labels, run again, makes those that are missing"

log = logging.getLogger(__name__)


class CacheError(DeviasError, RuntimeError):
    """A cache that cannot be used; the message names it, says why, and what to do."""


@dataclass
class VideoLabels:
    """The pseudo labels of one video, for W clips (windows) of it."""

    num_frames: int
    """Of the video, to notice when it is another one."""
    masks: Tensor | None = None
    """`[W, P, h, w]` bool."""
    scene_logits: Tensor | None = None
    """`[W, N_S]` float16."""


class LabelCache:
    """The pseudo labels of a list of videos; `create` or `open` one.

    Args:
        folder: of the manifest and the shards.
        settings: all that the labels depend on: at least `masks` and `scene_teacher`, what made
            them or `None`, `videos`, how many there are, and `shard_size`.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        """Stands in every shard, which ties it to these settings."""

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> LabelCache:
        """A new cache, or one to continue.

        Raises `CacheError` where the folder holds labels of other settings; they are left alone.
        """
        settings = json.loads(json.dumps(settings))  # tuples become lists, as when read
        if (folder / MANIFEST).exists():
            cache = cls.open(folder)
            cache.require(settings)
            return cache
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, "settings": settings}, indent=2)
        _write_whole(folder / MANIFEST, lambda path: path.write_text(text + "\n", "utf-8"))
        return cls(folder, settings)

    @classmethod
    def open(cls, folder: Path) -> LabelCache:
        """A cache that exists, complete or not; raise `CacheError` where there is none."""
        path = folder / MANIFEST
        try:
            manifest = json.loads(path.read_text("utf-8"))
            format_, settings = manifest["format"], manifest["settings"]
        except FileNotFoundError as error:
            raise CacheError(f"{folder} holds no pseudo labels: {path} does not exist") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CacheError(f"{path} is not the manifest of pseudo labels ({error})") from error
        if format_ != FORMAT:
            raise CacheError(f"{path} is of format {format_}, not {FORMAT}: label the videos anew")
        return cls(folder, settings)

    def require(self, settings: Settings) -> None:
        """Raise `CacheError`, naming each difference, unless `settings` are among the cache's."""
        settings = json.loads(json.dumps(settings))
        own = {key: self.settings.get(key) for key in settings}
        if found := differences(own, settings):
            raise CacheError(
                f"{self.folder} holds pseudo labels of other settings: {'; '.join(found)}. "
                "Choose another folder, or delete this one and label the videos anew"
            )

    @property
    def num_shards(self) -> int:
        """How many shards the complete cache has."""
        return -(-self.settings["videos"] // self.settings["shard_size"])

    def videos_of(self, shard: int) -> range:
        """The numbers of the videos in a shard."""
        size = self.settings["shard_size"]
        return range(shard * size, min((shard + 1) * size, self.settings["videos"]))

    def missing(self) -> list[int]:
        """The shards not there yet."""
        present = {path.name for path in self.folder.iterdir()}
        return [n for n in range(self.num_shards) if self._path(n).name not in present]

    def unfinished(self) -> list[int]:
        """The shards that are missing, or damaged as a full or failing disk leaves them."""
        unfinished = self.missing()
        for shard in sorted(set(range(self.num_shards)) - set(unfinished)):
            try:
                self._opened(shard)
            except CacheError as error:
                log.warning("labelling again: %s", error)
                unfinished.append(shard)
        return sorted(unfinished)

    def write(self, shard: int, labels: Mapping[int, VideoLabels | None]) -> None:
        """Write a shard at once or never; `None` stands for a video that cannot be read."""
        if list(labels) != list(self.videos_of(shard)):
            raise ValueError(f"shard {shard} is of the videos {self.videos_of(shard)}")
        arrays = {}
        for number, video in labels.items():
            arrays.update({f"{number}.{name}": array for name, array in _pack(video).items()})
        metadata = {"cache": self.key}
        _write_whole(self._path(shard), lambda path: save_file(arrays, path, metadata))

    def read(self, number: int, masks: bool = True, scenes: bool = True) -> VideoLabels | None:
        """The labels of a video, `None` where it could not be read when they were made.

        Args:
            number: of the video in its list.
            masks: read the masks, where there are any.
            scenes: likewise the scenes.

        Raises:
            CacheError: the shard is missing, damaged or of another cache, or lacks the video.
        """
        shard = number // self.settings["shard_size"]
        names = []
        if masks and self.settings["masks"]:
            names.append("masks")
        if scenes and self.settings["scene_teacher"]:
            names.append("scene_logits")
        try:
            file = self._opened(shard)
            shape = file.get_tensor(f"{number}.shape")
            if not shape[0]:
                return None
            return _unpack(shape, {name: file.get_tensor(f"{number}.{name}") for name in names})
        except (SafetensorError, zlib.error, ValueError) as error:
            raise CacheError(self._damaged(shard, f"video {number}: {error}")) from error

    def _opened(self, shard: int) -> Any:
        path = self._path(shard)
        try:
            file = safe_open(path, framework="numpy")
        except FileNotFoundError as error:
            raise CacheError(f"{path} is missing; {HOW_TO_COMPLETE}") from error
        except (SafetensorError, OSError) as error:
            raise CacheError(self._damaged(shard, str(error))) from error
        if (file.metadata() or {}).get("cache") != self.key:
            raise CacheError(self._damaged(shard, "it belongs to another cache"))
        return file

    def _damaged(self, shard: int, why: str) -> str:
        return f"{self._path(shard)} is unusable ({why}). Delete it; {HOW_TO_COMPLETE}"

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:05d}.safetensors"


def _pack(video: VideoLabels | None) -> dict[str, np.ndarray]:
    """Masks as deflated bits; `shape` is the number of frames and the masks' shape."""
    if video is None:
        return {"shape": np.zeros(1, np.int32)}
    arrays = {}
    shape = [video.num_frames]
    if video.masks is not None:
        shape += video.masks.shape
        bits = np.packbits(video.masks.numpy())
        arrays["masks"] = np.frombuffer(zlib.compress(bits.data), np.uint8)
    if video.scene_logits is not None:
        arrays["scene_logits"] = video.scene_logits.numpy()
    return {"shape": np.array(shape, np.int32), **arrays}


def _unpack(shape: np.ndarray, arrays: Mapping[str, np.ndarray]) -> VideoLabels:
    """Undo `_pack`; raise `ValueError` or `zlib.error` where the contents do not fit."""
    video = VideoLabels(int(shape[0]))
    if "masks" in arrays:
        bits = np.frombuffer(zlib.decompress(arrays["masks"].data), np.uint8)
        count = int(shape[1:].prod())
        if len(bits) != -(-count // 8):
            raise ValueError(f"{len(bits)} bytes of masks, not {count} bits")
        masks = np.unpackbits(bits, count=count).view(np.bool_)
        video.masks = torch.from_numpy(masks.reshape(shape[1:]))
    if "scene_logits" in arrays:
        video.scene_logits = torch.from_numpy(arrays["scene_logits"])
    return video


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
