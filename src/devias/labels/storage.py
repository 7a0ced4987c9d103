"""Pseudo labels on disk: made once, refused where anything they depend on has changed.

A cache is a folder of `manifest.json`, which tells the settings, and one file for every
`shard_size` videos. A shard appears complete or not at all, so a run that was stopped continues
where it was, and runs on several machines may fill the shards between them. What is read back is
believed only where it fits the settings and the video at hand, whoever wrote it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from devias.errors import DeviasError
from devias.files import atomic_path, write_text
from devias.labels.fingerprint import FINGERPRINT_SIZE
from devias.labels.settings import NEW_IN_FORMAT_2, Settings, check_settings, differences

MANIFEST = "manifest.json"
FORMAT = 2
"""Of the files. Those of format 1 tell less (`NEW_IN_FORMAT_2`, no fingerprints) and are read."""
_MANIFEST_LIMIT = 1 << 20
_MOST_PIXELS = 1 << 31
"""Of all masks of a video: those of eight hours, labeled without overlap."""
HOW_TO_COMPLETE = "the command that made the labels, run again, makes those that are missing"

log = logging.getLogger(__name__)


class CacheError(DeviasError, RuntimeError):
    """A cache that cannot be used; the message names it, says why, and what to do."""


class DamagedShard(CacheError):
    """A shard whose content is not what was written there."""


@dataclass
class VideoLabels:
    """The pseudo labels of one video, for W clips (windows) of it."""

    num_frames: int
    """Of the video, to notice when it is another one."""
    masks: Tensor | None = None
    """`[W, P, h, w]` bool."""
    scene_logits: Tensor | None = None
    """`[W, N_S]` float16."""
    fingerprint: bytes = b""
    """Of the video, to notice when its content is another; empty where none was taken."""


class LabelCache:
    """The pseudo labels of a list of videos; `create` or `open` one.

    Args:
        folder: of the manifest and the shards.
        settings: all that the labels depend on: at least `masks` and `scene_teacher`, what made
            them or `None`, `videos`, how many there are, and `shard_size`.
        format_: of the files.
    """

    def __init__(self, folder: Path, settings: Settings, format_: int = FORMAT) -> None:
        self.folder = folder
        self.settings = settings
        self.format = format_
        self.key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        """Stands in every shard, which ties it to these settings."""

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> LabelCache:
        """A new cache, or one to continue.

        Raises:
            CacheError: the settings are not sound, the folder cannot be written, or it holds
                labels of other settings; they are left alone.
        """
        path = folder / MANIFEST
        try:
            check_settings(settings)
            if not path.exists():
                text = json.dumps({"format": FORMAT, "settings": settings}, indent=2)
                write_text(path, text + "\n")
        except ValueError as error:
            raise CacheError(f"{path} is not written: {error}") from error
        except OSError as error:
            raise _blocked(folder, error, "written") from error
        cache = cls.open(folder)
        cache.require(settings)
        return cache

    @classmethod
    def open(cls, folder: Path) -> LabelCache:
        """A cache that exists, complete or not; raise `CacheError` where there is no sound one."""
        path = folder / MANIFEST
        try:
            with path.open("rb") as file:
                content = file.read(_MANIFEST_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CacheError(f"{folder} holds no pseudo labels: {path} does not exist") from error
        except OSError as error:
            raise _blocked(path, error, "read") from error
        try:
            format_, settings = _parse(content)
            if type(format_) is not int or format_ not in (1, FORMAT):
                raise CacheError(
                    f"{path} is of format {format_}, not 1 or {FORMAT}: label the videos anew"
                )
            return cls(folder, check_settings(settings), format_)
        except (ValueError, RecursionError) as error:
            raise CacheError(f"{path} is not the manifest of pseudo labels ({error})") from error

    def require(self, settings: Settings) -> None:
        """Raise `CacheError`, naming each difference, unless `settings` are among the cache's."""
        settings = json.loads(json.dumps(settings))  # tuples become lists, as when read
        if self.format == 1:
            settings = {k: value for k, value in settings.items() if k not in NEW_IN_FORMAT_2}
        own = {key: self.settings.get(key) for key in settings}
        if found := differences(own, settings):
            raise CacheError(
                f"{self.folder} holds pseudo labels of other settings: {'; '.join(found)}. "
                "Choose another folder, or delete this one and label the videos anew"
            )

    def require_clips(self) -> None:
        """Raise `CacheError`, naming the key, unless the settings are those of clips' labels."""
        try:
            check_settings(self.settings, complete=True)
        except ValueError as error:
            raise CacheError(f"{self.folder / MANIFEST}: {error}") from error

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
        try:
            present = {path.name for path in self.folder.iterdir()}
        except OSError as error:
            raise _blocked(self.folder, error, "read") from error
        return [n for n in range(self.num_shards) if self._path(n).name not in present]

    def unfinished(self) -> list[int]:
        """The shards that are missing, or damaged as a full or failing disk leaves them."""
        unfinished = self.missing()
        for shard in sorted(set(range(self.num_shards)) - set(unfinished)):
            try:
                self._opened(shard)
            except DamagedShard as error:
                log.warning("labeling again: %s", error)
                unfinished.append(shard)
        return sorted(unfinished)

    def write(self, shard: int, labels: Mapping[int, VideoLabels | None]) -> None:
        """Write a shard at once or never; `None` stands for a video that cannot be read."""
        if list(labels) != list(self.videos_of(shard)):
            raise ValueError(f"shard {shard} is of the videos {self.videos_of(shard)}")
        arrays = {}
        for number, video in labels.items():
            if video and video.scene_logits is not None and not video.scene_logits.isfinite().all():
                raise CacheError(
                    f"{self._path(shard)} is not written: the scene model gives NaN or infinite "
                    f"logits for video {number}"
                )
            arrays.update({f"{number}.{name}": array for name, array in _pack(video).items()})
        fingerprints = b"".join(
            (video.fingerprint if video else b"").ljust(FINGERPRINT_SIZE, b"\0")
            for video in labels.values()
        )
        arrays["fingerprints"] = np.frombuffer(fingerprints, np.uint8).reshape(len(labels), -1)
        # Not `save_file`, whose files only their owner may read.
        content = save(arrays, {"cache": self.key})
        try:
            with atomic_path(self._path(shard)) as path:
                path.write_bytes(content)
        except OSError as error:
            raise _blocked(self.folder, error, "written") from error

    def read(
        self,
        number: int,
        masks: bool = True,
        scenes: bool = True,
        num_frames: int | None = None,
        num_windows: int | None = None,
    ) -> VideoLabels | None:
        """The labels of a video, `None` where it could not be read when they were made.

        Nothing is unpacked before its size is known to be right.

        Args:
            number: of the video in its list.
            masks: read the masks, where there are any.
            scenes: likewise the scenes.
            num_frames: of the video as it is now; `None` if that is not known.
            num_windows: W, which follows from it.

        Raises:
            CacheError: the shard is missing, may not be read, is damaged or of another cache, or
                lacks the video; or the video has another number of frames.
        """
        shard = number // self.settings["shard_size"]
        file = self._opened(shard)
        try:
            shape = _tensor(file, f"{number}.shape", "I32", [None], most=5).tolist()
            if shape[0] < 0:
                raise ValueError(f"it has {shape[0]} frames")
            if not shape[0]:
                return None
            if num_frames not in (None, shape[0]):
                raise CacheError(
                    f"{self.folder}: video {number} has {num_frames} frames, but had {shape[0]} "
                    f"when it was labeled. {self.how_to_renew(number)}"
                )
            video = VideoLabels(shape[0], fingerprint=self._fingerprint(file, number))
            if self.settings["masks"]:
                self._check_layout(shape[1:], num_windows)
                num_windows = shape[1]
                if masks:
                    video.masks = _unpacked(file, f"{number}.masks", shape[1:])
            if self.settings["scene_teacher"] and scenes:
                classes = self.settings.get("scene_classes")
                name = f"{number}.scene_logits"
                logits = _tensor(file, name, "F16", [num_windows, classes])
                if not np.isfinite(logits).all():
                    raise ValueError(f"{name} holds NaN or infinite numbers")
                video.scene_logits = torch.from_numpy(logits)
        except (SafetensorError, zlib.error, ValueError) as error:
            raise DamagedShard(self._damaged(shard, f"video {number}: {error}")) from error
        return video

    def how_to_renew(self, number: int) -> str:
        """What to do about a video that is not the labeled one any more."""
        path = self._path(number // self.settings["shard_size"])
        return f"Bring the old one back, or delete {path}; {HOW_TO_COMPLETE}"

    def _check_layout(self, shape: list[int], num_windows: int | None) -> None:
        """Raise `ValueError` unless masks can have the shape `[W, P, h, w]`."""
        if len(shape) != 4 or min(shape) < 1 or math.prod(shape) > _MOST_PIXELS:
            raise ValueError(f"masks cannot have the shape {shape}")
        planes = self.settings.get("tubelets")
        if planes is not None:
            planes += self.settings.get("clip_masks", False)
        for what, value, wanted in (
            ("windows", shape[0], num_windows),
            ("masks a window", shape[1], planes),
            ("pixels on the short side", min(shape[2:]), self.settings.get("mask_size")),
        ):
            if wanted not in (None, value):
                raise ValueError(f"it has masks of {value} {what}, not {wanted}")

    def _fingerprint(self, file: Any, number: int) -> bytes:
        if self.format == 1 and "fingerprints" not in file.keys():  # noqa: SIM118
            return b""
        videos = self.videos_of(number // self.settings["shard_size"])
        table = _tensor(file, "fingerprints", "U8", [len(videos), FINGERPRINT_SIZE])
        row = table[number - videos.start]
        return row.tobytes() if row.any() else b""

    def _opened(self, shard: int) -> Any:
        path = self._path(shard)
        try:
            file = safe_open(path, framework="numpy")
        except (SafetensorError, OSError) as error:
            _check_readable(path)  # safetensors calls every file missing that it may not open
            raise DamagedShard(self._damaged(shard, str(error))) from error
        if (file.metadata() or {}).get("cache") != self.key:
            raise DamagedShard(self._damaged(shard, "it belongs to another cache"))
        return file

    def _damaged(self, shard: int, why: str) -> str:
        return f"{self._path(shard)} is unusable ({why}). Delete it; {HOW_TO_COMPLETE}"

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:05d}.safetensors"


def _parse(content: bytes) -> tuple[Any, object]:
    """Format and settings from a manifest; raise `ValueError` where it is none."""
    if len(content) > _MANIFEST_LIMIT:
        raise ValueError(f"it is larger than {_MANIFEST_LIMIT} bytes")

    def whole_number(digits: str) -> int | float:
        return int(digits) if len(digits) < 20 else float(digits)  # Python refuses 4300 digits

    manifest = json.loads(content.decode(), parse_int=whole_number)
    if not isinstance(manifest, dict) or set(manifest) != {"format", "settings"}:
        raise ValueError("it must have the keys format and settings, and no others")
    return manifest["format"], manifest["settings"]


def _blocked(path: Path, error: OSError, what: str) -> CacheError:
    """Of a file or folder that the system does not let be `read` or `written`."""
    if not isinstance(error, PermissionError):
        return CacheError(f"{path} cannot be {what}: {error.strerror or error}")
    try:
        path.stat()
    except PermissionError:
        path = path.parent  # which may not be entered
    except OSError:
        pass
    return CacheError(f"{path} may not be {what} by this user; its owner can allow it")


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except FileNotFoundError as error:
        raise CacheError(f"{path} is missing; {HOW_TO_COMPLETE}") from error
    except OSError as error:
        raise _blocked(path, error, "read") from error


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


def _tensor(
    file: Any, name: str, dtype: str, shape: Sequence[int | None], most: int = _MOST_PIXELS
) -> np.ndarray:
    """An entry of a shard; raise `ValueError` where its header shows it to be another kind.

    `None` in the shape stands for any number, `most` bounds the number of elements.
    """
    entry = file.get_slice(name)
    found = entry.get_shape()
    fits = len(found) == len(shape) and all(
        wanted in (None, size) for size, wanted in zip(found, shape, strict=True)
    )
    if entry.get_dtype() != dtype or not fits or not 0 < math.prod(found) <= most:
        wanted = str(list(shape)).replace("None", "*")
        raise ValueError(f"{name} is {entry.get_dtype()} {found}, not {dtype} {wanted}")
    return file.get_tensor(name)


def _unpacked(file: Any, name: str, shape: list[int]) -> Tensor:
    """The masks of a video; raise `ValueError` or `zlib.error` where they have another size."""
    count = math.prod(shape)
    size = -(-count // 8)
    packed = _tensor(file, name, "U8", [None], most=size + size // 1000 + 100)
    inflater = zlib.decompressobj()
    bits = inflater.decompress(packed.data, size + 1)  # a byte too many shows, and no more of them
    if len(bits) != size or not inflater.eof:
        raise ValueError(f"{len(bits)} bytes of masks, not {count} bits")
    masks = np.unpackbits(np.frombuffer(bits, np.uint8), count=count).view(np.bool_)
    return torch.from_numpy(masks.reshape(shape))
