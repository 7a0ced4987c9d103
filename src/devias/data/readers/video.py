"""Reads chosen frames of a video: exactly those of a full sequential decode, and fast.

One demux pass lists the timestamps of all frames without decoding. To read, the decoder starts
at the last key frame before the first wanted frame, skips packets that nothing wanted depends
on, and only wanted frames become RGB. That rests on the timestamps and key frames of a container,
which may be missing or wrong. The demux pass holds them against each packet's own bits: one whole
picture a packet, key frames that are such, times in the order in which the decoder hands frames
out. Where that is no proof, the reader decodes from the start and counts, which is the sequential
decode itself. It does the same should a wanted frame not appear after a seek.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from os.path import splitext
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
import numpy.typing as npt
import torch
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from devias.data.readers.base import (
    DEFAULT_RATE,
    MAX_PIXELS,
    FrameReader,
    VideoError,
    require_regular_file,
)
from devias.data.readers.bitstream import Inspector, Picture, inspector

VIDEO_SUFFIXES = {
    *(".3gp", ".asf", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".webm", ".wmv"),
}
"""By which video files are told from others in a folder; a reader opens whatever it is given."""
FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,rm,nut,ivf,mxf,dv,gif,"
    "h264,hevc,obu,m4v,mpegvideo,mjpeg,h261,h263,vc1,yuv4mpegpipe"
)
"""FFmpeg's names of the containers that are read. None of them opens files that it names."""
SEEK_GAP = 8
"""Frames worth skipping by a seek; fewer are decoded sooner than a seek and its delay cost."""
HOLE = bytes(32)
"""Part of a file that was never written; compressed pictures have no such run."""
MAX_KEPT_BYTES = 128 * 2**20
"""Memory for frames that had to be decoded to be counted; 1100 of 240×320."""


def without_suffix(path: str) -> str:
    """The path without the suffix of a video file; the dots of other names stay."""
    stem, suffix = splitext(path)
    return stem if suffix.lower() in VIDEO_SUFFIXES else path


@dataclass(frozen=True)
class FrameIndex:
    """Where the n frames of a video are; whoever reads the video again may keep it."""

    pts: npt.NDArray[np.int64]
    """`[n]` presentation timestamps in units of `time_base`, ascending."""
    time_base: Fraction
    """Seconds."""
    key_pts: npt.NDArray[np.int64]
    """`[k]` presentation timestamps of the key frames, ascending; not all are frames shown."""
    key_dts: npt.NDArray[np.int64]
    """`[k]` their decoding timestamps, by which containers seek."""
    counted: bool
    """Whether a frame is found by decoding from the start and counting."""

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """`[n]` seconds since the first frame."""
        ticks = self.pts - self.pts[0]
        return ticks * self.time_base.numerator / self.time_base.denominator


class VideoReader(FrameReader):
    """Random access to the frames of one video file.

    Frames are upright (a rotation or mirroring stored with the video is applied, as players do)
    and have the stored number of pixels (a pixel aspect ratio is not applied). Where the
    size changes midway all frames have the stream's; where the orientation does, that of the first
    frame read. Decoding takes one thread.

    Args:
        path: a regular file; it is never taken for an address or a playlist.
        index: the `index` of an earlier reader of the same file: it saves the demux pass.

    Raises:
        VideoError: the file is missing, unreadable or holds no frame.
    """

    def __init__(self, path: Path | str, index: FrameIndex | None = None) -> None:
        self.path = path
        self._container, self._stream = _open(path)
        codec = self._stream.codec_context
        self._size = codec.width, codec.height  # of the container; the decoder may change its own
        self._problem: av.FFmpegError | None = None
        self._kept: list[VideoFrame] = []
        self._at_start = True
        with _naming(path):
            self.index = self._list_frames() if index is None else index
        if not len(self.index):
            self.close()
            raise VideoError(f"{path}: holds no frame that decodes{self._cause}")

    @property
    def num_frames(self) -> int:
        """How many frames a full sequential decode of the file gives."""
        return len(self.index)

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """`[num_frames]` seconds since the first frame."""
        return self.index.timestamps

    def read(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """Frames by number; see `FrameReader.read`."""
        wanted, positions = self._distinct(indices)
        pictures = _Pictures(len(wanted), self._size)
        with _naming(self.path):
            if self.index.counted or not self._decode_after_seeking(wanted, pictures):
                pictures = _Pictures(len(wanted), self._size)
                self._decode_in_order(wanted, pictures)
        if not pictures.complete:
            missing = wanted[np.argmin(pictures.filled)]
            raise VideoError(f"{self.path}: frame {missing} does not decode{self._cause}")
        frames = torch.from_numpy(pictures.rgb)
        in_order = np.array_equal(positions, np.arange(len(wanted)))
        return frames if in_order else frames[torch.from_numpy(positions)]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _list_frames(self) -> FrameIndex:
        """Demux the whole file once, and decide whether its timestamps can be relied on."""
        codec = self._stream.codec_context
        inspect = inspector(codec.codec.canonical_name, codec.codec.intra_only, codec.extradata)
        if inspect is None:
            return self._count_frames()
        packets = [_PacketInfo.of(p, inspect) for p in self._packets() if p.size]
        if any(p.picture is None for p in packets):
            return self._count_frames()
        packets = [p for p in packets if p.picture and p.picture.shown]
        num_shown = sum(not p.discarded for p in packets)
        times = sorted({p.time for p in packets if p.time is not None and not p.discarded})
        keys = sorted((p.time, p.dts) for p in packets if p.time is not None and p.key)
        # Frames before the first key frame may or may not decode.
        opens_on_key = bool(keys and times) and packets[0].time == keys[0][0] <= times[0]
        if not opens_on_key or len(times) != num_shown:
            return self._count_frames()
        if _come_in_order(packets, codec.reorder_depth):
            key_pts, key_dts = np.array(keys, dtype=np.int64).T
            time_base = self._stream.time_base or Fraction(1)
            return FrameIndex(np.array(times), time_base, key_pts, key_dts, counted=False)
        # Only how many there are is known, and that only if the decoder awaits reordering.
        return self._counted(num_shown) if codec.reorder_depth else self._count_frames()

    def _count_frames(self) -> FrameIndex:
        """Decode the whole file, and keep its frames for reading if they are not too large."""
        times: list[int | None] = []
        codec = self._stream.codec_context
        max_kept = MAX_KEPT_BYTES // (codec.width * codec.height * 3 // 2)
        for frame in self._decode_from_start():
            times.append(_time(frame))
            if len(times) <= max_kept:
                self._kept.append(frame)
            else:
                self._kept.clear()
        return self._counted(len(times), times)

    def _counted(self, count: int, times: Sequence[int | None] = ()) -> FrameIndex:
        """An index of `count` frames, at the decoder's `times` if these ascend."""
        none = np.empty(0, dtype=np.int64)
        ascending = all(a is not None and b is not None and a < b for a, b in pairwise(times))
        if len(times) > 1 and ascending:
            time_base = self._stream.time_base or Fraction(1)
            return FrameIndex(np.array(times), time_base, none, none, counted=True)
        interval = 1 / (self._stream.guessed_rate or Fraction(DEFAULT_RATE))
        return FrameIndex(np.arange(count), interval, none, none, counted=True)

    def _decode_after_seeking(self, wanted: npt.NDArray[np.int64], pictures: _Pictures) -> bool:
        """Seek to the key frames before the `wanted` numbers and pick frames by timestamp.

        Returns:
            Whether all are there and undamaged. What a decoder makes of damage depends on what
            it saw before.
        """
        index, codec = self.index, self._stream.codec_context
        keys = np.searchsorted(index.key_pts, index.pts[wanted], side="right") - 1
        # A seek pays where the key frame lies far enough behind the last wanted frame.
        gaps = np.searchsorted(index.pts, index.key_pts[keys[1:]]) - wanted[:-1]
        for run in np.split(np.arange(len(wanted)), np.flatnonzero(gaps > SEEK_GAP) + 1):
            key_pts, key_dts = int(index.key_pts[keys[run[0]]]), int(index.key_dts[keys[run[0]]])
            places: dict[int | None, int] = {int(index.pts[wanted[i]]): int(i) for i in run}
            started = False
            for packet in self._packets(seek_to=key_dts):
                time = _time(packet)
                # Some containers seek further back than asked.
                started = started or (packet.is_keyframe and time == key_pts)
                if not started:
                    continue
                codec.skip_frame = "DEFAULT" if time in places else "NONREF"
                for frame in self._decode(packet):
                    if frame.is_corrupt:
                        return False
                    place = places.pop(_time(frame), None)
                    if place is not None:
                        pictures.store(place, frame)
                if not places:
                    break
            if places:
                return False
        return True

    def _decode_in_order(self, wanted: npt.NDArray[np.int64], pictures: _Pictures) -> None:
        """Decode from the start and pick the `wanted` numbers, by counting or by timestamp."""
        counted = self.index.counted
        names = wanted if counted else self.index.pts[wanted]
        places: dict[int | None, int] = {int(name): place for place, name in enumerate(names)}
        for number, frame in enumerate(self._kept or self._decode_from_start()):
            place = places.pop(number if counted else _time(frame), None)
            if place is not None:
                pictures.store(place, frame)
            if not places:
                break

    def _decode_from_start(self) -> Iterator[VideoFrame]:
        """All frames; the file is opened anew, as not every container seeks to its very start.

        Streams of the closed container must not be touched afterwards: their memory is gone.
        """
        if not self._at_start:
            self.close()
            self._container, self._stream = _open(self.path)
        for packet in self._packets():
            yield from self._decode(packet)

    def _packets(self, seek_to: int | None = None) -> Iterator[Packet[VideoStream]]:
        """Packets to the end of the file, or to where it cannot be read further."""
        self._at_start = False
        try:
            if seek_to is not None:
                self._container.seek(seek_to, stream=self._stream)
            yield from self._container.demux(self._stream)
        except av.FFmpegError as error:
            self._problem = error

    def _decode(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        try:
            return self._stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            self._problem = error
            return []

    @property
    def _cause(self) -> str:
        return f" ({self._problem})" if self._problem else ""


class _PacketInfo(NamedTuple):
    """What the index needs to know of a packet."""

    time: int | None
    dts: int | None
    """For seeking; `time` where there is none."""
    key: bool
    discarded: bool
    """Before the start that an edit list sets: decoded, but not shown."""
    picture: Picture | None
    """`None` unless it is exactly one, and whole."""

    @classmethod
    def of(cls, packet: Packet[VideoStream], inspect: Inspector) -> _PacketInfo:
        picture: Picture | None = None
        data = bytes(packet)
        if not (packet.is_corrupt or HOLE in data or packet.has_sidedata("new_extradata")):
            try:
                picture = inspect(data)
            except (ValueError, IndexError):
                picture = None
        time = _time(packet)
        dts = time if packet.dts is None else packet.dts
        key = packet.is_keyframe and picture is not None and picture.starts
        return cls(time, dts, key, packet.is_discard, picture)


def _come_in_order(packets: Sequence[_PacketInfo], delay: int) -> bool:
    """Whether the times are in the order in which a decoder hands out frames, after `delay`.

    B pictures, and no others, are to be shown before one that was decoded earlier. Files whose
    presentation times are copies of the decoding times fail here.
    """
    times = np.array([packet.time for packet in packets])
    backward = [packet.picture is not None and packet.picture.backward for packet in packets]
    ranks = times.argsort().argsort()
    if (np.arange(len(times)) - ranks).max() > delay:
        return False
    return np.array_equal(times < np.maximum.accumulate(times), backward)


class _Pictures:
    """The RGB pictures of one read, allocated at the first of them."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.filled = np.zeros(count, dtype=bool)
        self._size = size
        self._reformatter = VideoReformatter()
        self._matrix: tuple[int, ...] = (1, 0, 0, 0, 1)
        self.rgb = np.empty(0, dtype=np.uint8)

    @property
    def complete(self) -> bool:
        return bool(self.filled.all())

    def store(self, place: int, frame: VideoFrame) -> None:
        """Convert `frame` and keep it, at the stream's size and upright like the first one."""
        width, height = self._size
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", threads=1)
        pixels = np.frombuffer(memoryview(rgb.planes[0]), np.uint8)
        rows = pixels.reshape(height, -1)[:, : 3 * width]  # without their padding
        if not self.rgb.size:
            self._matrix = _display_matrix(frame)
        picture = _upright(rows.reshape(height, width, 3), self._matrix)
        if not self.rgb.size:
            self.rgb = np.empty((len(self.filled), *picture.shape), dtype=np.uint8)
        self.rgb[place] = picture
        self.filled[place] = True


def _display_matrix(frame: VideoFrame) -> tuple[int, ...]:
    """How a frame asks to be turned and mirrored: a, b, u, c, d of its display matrix."""
    side_data = cast(Mapping[str, SideData], frame.side_data)
    if "DISPLAYMATRIX" not in side_data:
        return (1, 0, 0, 0, 1)
    return tuple(np.frombuffer(memoryview(side_data["DISPLAYMATRIX"]), np.int32)[:5].tolist())


def _upright(picture: npt.NDArray[np.uint8], matrix: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Turn and mirror `picture [H, W, 3]`: a pixel (x, y) is shown at (a·x + c·y, b·x + d·y)."""
    a, b, _, c, d = matrix
    if abs(a) < abs(b):
        picture, a, d = picture.swapaxes(0, 1), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


@contextmanager
def _naming(path: Path | str) -> Iterator[None]:
    """Turn whatever a damaged file makes PyAV raise into an error that names the file."""
    try:
        yield
    except VideoError:
        raise
    except av.ArgumentError as error:
        reason = "or of a format that is not read, such as a playlist"
        raise VideoError(f"{path}: not a video, {reason}") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{path}: not a readable video ({reason})") from error


def _open(path: Path | str) -> tuple[InputContainer, VideoStream]:
    require_regular_file(path)
    with _naming(path):
        container = av.open(
            f"file:{path}",  # else a colon in its name makes it an address
            options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
            metadata_errors="replace",
        )
        stream = container.streams.best("video")
        codec = stream.codec_context if isinstance(stream, VideoStream) else None
        if not isinstance(stream, VideoStream) or codec is None or not codec.width:
            raise VideoError(f"{path}: no video stream that can be decoded")
        if codec.width * codec.height > MAX_PIXELS:
            size = f"{codec.width}×{codec.height}"
            raise VideoError(f"{path}: frames of {size} pixels, more than {MAX_PIXELS}")
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        codec.thread_type, codec.thread_count = "NONE", 1
        codec.options = {"max_pixels": str(MAX_PIXELS)}  # should the size change midway
        return container, stream


def _time(of: Packet[VideoStream] | VideoFrame) -> int | None:
    """The presentation timestamp; old AVI files without B-frames only have the other one."""
    return of.dts if of.pts is None else of.pts
