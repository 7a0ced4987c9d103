"""Smaller copies of videos that decode faster, each compared with its source."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from devias.data.frame_indices import train_indices
from devias.data.parallel import in_parallel
from devias.data.readers import FrameReader, VideoError, open_frames
from devias.data.transforms import short_side_size
from devias.errors import ConfigError, DeviasError
from devias.files import atomic_path, write_text

SETTINGS_FILE = "transcode.json"
SUFFIX = ".mp4"
TICKS = 90_000
"""Units of time in a second of the copies; divisible by the usual frame rates."""
MAX_CHUNK = 2**27
"""Bytes of the frames that are held at a time."""
GRID = 4
"""Copies are compared with their sources as pictures of this many squares."""
TOLERANCE = 12.0
"""The largest mean difference of these that coding may make, of 255."""


class TranscodeError(DeviasError, ValueError):
    """A copy that is not what its source is; says where they differ."""


@dataclass(frozen=True)
class Coding:
    """How copies are coded, in H.264.

    Raises:
        ConfigError: a number is out of its range.
    """

    short_side: int = 256
    """Pixels, rounded to even numbers; smaller videos keep their size."""
    key_interval: int = 12
    """Frames from one key frame to the next: a reader decodes at most that many to reach a clip."""
    quality: int = 20
    """x264's constant rate factor: 0 is lossless, 51 worst."""
    preset: str = "medium"
    """x264's trade of time for size."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("short_side", 2, None),
            ("key_interval", 1, None),
            ("quality", 0, 51),
        ):
            value = getattr(self, name)
            if value < least or (most is not None and value > most):
                allowed = f"at least {least}" if most is None else f"{least} to {most}"
                raise ConfigError(f"{name}={value}: must be {allowed}")


@dataclass(frozen=True, slots=True)
class Copy:
    """What became of one video."""

    source: Path
    target: Path
    num_frames: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    made: bool = False
    """Rather than found from an earlier run."""
    error: str = ""


def transcode_folder(
    videos: Path, output: Path, paths: Sequence[Path], coding: Coding, processes: int = 0
) -> Iterator[Copy]:
    """Copy videos below `videos` to the same places below `output`, as .mp4.

    Copies that are there already stay, unless their source is newer; so a run that was stopped
    goes on. A video that cannot be copied comes with its error.

    Args:
        videos: the folder.
        output: another, in which all copies have one `coding`.
        paths: the videos.
        coding: of the copies.
        processes: 0: in this one.

    Raises:
        ConfigError: the folders overlap, `output` has copies of another coding, or two videos
            differ in their suffixes alone.
    """
    inner, outer = output.resolve(), videos.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise ConfigError(f"output={output} and videos={videos} overlap: choose another output")
    targets: dict[Path, Path] = {}
    for path in paths:
        target = output / path.relative_to(videos).with_suffix(SUFFIX)
        if (other := targets.setdefault(target, path)) != path:
            raise ConfigError(f"{other} and {path} would both become {target}")
    _claim(output / SETTINGS_FILE, coding)
    jobs = [(source, target) for target, source in targets.items()]
    yield from in_parallel(partial(_copy_unless_done, coding=coding), jobs, processes, at_once=1)


def _claim(path: Path, coding: Coding) -> None:
    """Write down how the copies of a folder are coded, or compare."""
    text = json.dumps(asdict(coding), indent=2) + "\n"
    if not path.exists():
        write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{path}: copies of another coding; choose another output folder")


def _copy_unless_done(job: tuple[Path, Path], coding: Coding) -> Copy:
    source, target = job
    try:
        before = source.stat()
        if target.exists() and target.stat().st_mtime >= before.st_mtime:
            return Copy(source, target, 0, before.st_size, target.stat().st_size)
        num_frames = transcode(source, target, coding)
    except (DeviasError, OSError, av.FFmpegError) as error:
        return Copy(source, target, error=str(error))
    return Copy(source, target, num_frames, before.st_size, target.stat().st_size, made=True)


def transcode(source: Path, target: Path, coding: Coding) -> int:
    """Write a copy with all frames at their times, without sound; compared, or not at all.

    Returns:
        The number of frames.

    Raises:
        TranscodeError: the copy is not what the source is.
        VideoError: the source cannot be read.
    """
    with atomic_path(target) as temporary:
        with open_frames(source) as reader:
            pictures = _encode(reader, temporary, coding)
            ticks = _ticks(reader)
        _compare(temporary, pictures, ticks, source)
    return len(ticks)


def _encode(reader: FrameReader, path: Path, coding: Coding) -> Tensor:
    """Write the video; returns its frames in `GRID`² squares."""
    ticks, pictures = _ticks(reader), []
    height, width = _even_size(reader.read([0]).shape[1:3], coding.short_side)
    with av.open(str(path), "w", format="mp4") as container:
        rate = Fraction(TICKS * max(1, len(ticks) - 1), int(ticks[-1]) or TICKS)
        stream = container.add_stream("libx264", rate=rate.limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.thread_count = 1
        stream.options = {
            "crf": str(coding.quality),
            "preset": coding.preset,
            "g": str(coding.key_interval),
            "sc_threshold": "0",  # key frames at every interval, no more
        }
        for frames, times in _chunks(reader, ticks):
            for rgb, tick in zip(frames.numpy(), times, strict=True):
                whole = av.VideoFrame.from_ndarray(rgb, "rgb24")
                frame = whole.reformat(width, height, "yuv420p", interpolation="AREA")
                frame.pts, frame.time_base = int(tick), Fraction(1, TICKS)
                container.mux(stream.encode(frame))
            pictures.append(_squares(frames))
        container.mux(stream.encode())
    return torch.cat(pictures)


def _compare(path: Path, pictures: Tensor, ticks: npt.NDArray[np.int64], source: Path) -> None:
    """Decode the whole copy and hold it against what was put in."""
    with open_frames(path) as copy:
        if copy.num_frames != len(ticks):
            raise TranscodeError(f"{source}: has {len(ticks)} frames, its copy {copy.num_frames}")
        if np.abs(_ticks(copy) - ticks).max() > 1:
            raise TranscodeError(f"{source}: its copy shows frames at other times")
        squares = torch.cat([_squares(frames) for frames, _ in _chunks(copy, ticks)])
    difference = (squares - pictures).abs().mean(dim=(1, 2, 3))
    if difference.max() > TOLERANCE:
        raise TranscodeError(
            f"{source}: frame {int(difference.argmax())} of its copy shows something else "
            f"({difference.max():.1f} of 255 in the mean)"
        )


def _ticks(reader: FrameReader) -> npt.NDArray[np.int64]:
    """`[num_frames]` times in units of the copy."""
    return np.round(reader.timestamps * TICKS).astype(np.int64)


def _chunks(
    reader: FrameReader, ticks: npt.NDArray[np.int64]
) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
    """All frames in order, as many at a time as memory allows, and their times."""
    start, size = 0, 1
    while start < len(ticks):
        stop = min(start + size, len(ticks))
        frames = reader.read(range(start, stop))
        yield frames, ticks[start:stop]
        start, size = stop, max(1, MAX_CHUNK // frames[0].numel())


def _even_size(size: Sequence[int], short_side: int) -> tuple[int, int]:
    """Height and width of a copy; the colors of 4:2:0 need even ones."""
    height, width = size
    if min(height, width) > short_side:
        height, width = short_side_size(height, width, short_side)
    return max(2, height // 2 * 2), max(2, width // 2 * 2)


def _squares(frames: Tensor) -> Tensor:
    """uint8 `[F, H, W, 3]` → float `[F, 3, GRID, GRID]`."""
    few = frames.permute(0, 3, 1, 2).split(16)  # floats are four times as large
    return torch.cat([F.adaptive_avg_pool2d(images.float(), GRID) for images in few])


def milliseconds_per_clip(paths: Iterable[Path], clip_length: int = 16, stride: int = 4) -> float:
    """Mean time to open a video and read a training clip from some place of it.

    Videos that cannot be read are left out.
    """
    times = []
    for number, path in enumerate(paths):
        start = time.perf_counter()
        try:
            with open_frames(path) as reader:
                place = number * 0.618 % 1  # spread evenly
                reader.read(train_indices(reader.num_frames, clip_length, stride, place))
        except VideoError:
            continue
        times.append(time.perf_counter() - start)
    return 1000 * float(np.mean(times)) if times else float("nan")
