"""Reads chosen frames of a video: exactly those of a full sequential decode, and fast.

One demux pass lists the timestamps of all frames without decoding. To read, the decoder starts
at the last key frame before the first wanted frame, skips packets that nothing wanted depends
on, and only wanted frames become RGB. Where timestamps cannot tell frames apart (AVI with
B-frames, packed or not; missing or repeated timestamps; a stream that does not open on a key
frame) the reader decodes from the start and counts, which is the sequential decode itself. It
does the same should a wanted frame not appear after a seek.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

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

from devias.errors import DeviasError

SEEK_GAP = 8
"""Frames worth skipping by a seek; fewer are decoded sooner than a seek and its delay cost."""
MAX_REPEAT_SIZE = 19
"""Bytes up to which an MPEG-4 packet may mean "the last picture again" and yield no frame."""
MAX_KEPT_BYTES = 128 * 2**20
"""Memory for frames that had to be decoded to be counted; 1100 of 240×320."""
DEFAULT_RATE = 25
"""Frames per second of streams that do not tell."""


class VideoError(DeviasError, RuntimeError):
    """A video that cannot be read; the message names the file and why."""


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


class VideoReader:
    """Random access to the frames of one video file; use it as a context manager.

    Frames are upright (a rotation or mirroring stored with the video is applied, as players do)
    and have the stored number of pixels (a pixel aspect ratio is not applied). Decoding takes
    one thread. `index` is the `index` of an earlier reader of the same file: it saves the demux
    pass.

    Raises `VideoError` where the file is missing, unreadable or holds no frame.
    """

    def __init__(self, path: Path | str, index: FrameIndex | None = None) -> None:
        self.path = path
        self._container, self._stream = _open(path)
        self._problem: av.FFmpegError | None = None
        self._kept: list[VideoFrame] = []
        self._at_start = True
        self.index = self._list_frames() if index is None else index
        if not len(self.index):
            self.close()
            raise VideoError(f"{path}: holds no frame that decodes{self._cause}")

    @property
    def num_frames(self) -> int:
        """How many frames a full sequential decode of the file gives, damage aside."""
        return len(self.index)

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """`[num_frames]` seconds since the first frame."""
        return self.index.timestamps

    def read(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """Frames by number, in any order and repeated at will → uint8 `[len(indices), H, W, 3]`.

        Raises `VideoError` for a number out of range or a frame that does not decode.
        """
        numbers = np.asarray(indices, dtype=np.int64)
        if numbers.ndim != 1 or not len(numbers):
            raise ValueError(f"indices must be a non-empty list, got shape {numbers.shape}")
        wanted, positions = np.unique(numbers, return_inverse=True)
        if wanted[0] < 0 or wanted[-1] >= self.num_frames:
            raise VideoError(
                f"{self.path}: frames {wanted[0]} to {wanted[-1]} are wanted, "
                f"the video has frames 0 to {self.num_frames - 1}"
            )
        pictures = _Pictures(len(wanted), self._stream)
        if not self.index.counted:
            self._decode_after_seeking(wanted, pictures)
        if not pictures.complete:
            self._decode_in_order(wanted, pictures)
        if not pictures.complete:
            missing = wanted[np.argmin(pictures.filled)]
            raise VideoError(f"{self.path}: frame {missing} does not decode{self._cause}")
        frames = torch.from_numpy(pictures.rgb)
        return frames if np.array_equal(wanted, numbers) else frames[torch.from_numpy(positions)]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _list_frames(self) -> FrameIndex:
        """Demux the whole file once, and decide whether its timestamps can be relied on."""
        codec = self._stream.codec_context
        time_base = self._stream.time_base or Fraction(1)
        interval = 1 / (self._stream.guessed_rate or Fraction(DEFAULT_RATE))
        infos = [_PacketInfo.of(p, codec.name) for p in self._packets() if p.size]
        packets = [info for info in infos if not info.hidden]
        num_shown = sum(not p.discarded for p in packets)
        times = sorted({p.time for p in packets if p.time is not None and not p.discarded})
        keys = sorted((p.time, p.dts) for p in packets if p.time is not None and p.key)
        # Frames before the first key frame may or may not decode.
        opens_on_key = bool(keys and times) and packets[0].time == keys[0][0] <= times[0]
        # Packed MPEG-4 and repeated pictures: packets without a frame, packets with two.
        one_each = codec.name != "mpeg4" or all(p.size > MAX_REPEAT_SIZE for p in packets)
        listed = opens_on_key and one_each and len(times) == num_shown
        if listed and not (self._container.format.name == "avi" and codec.has_b_frames):
            key_pts, key_dts = np.array(keys, dtype=np.int64).T
            return FrameIndex(np.array(times), time_base, key_pts, key_dts, counted=False)
        count = num_shown if listed else self._count_frames()
        none = np.empty(0, dtype=np.int64)
        return FrameIndex(np.arange(count), interval, none, none, counted=True)

    def _count_frames(self) -> int:
        """Decode the whole file, and keep its frames for reading if they are not too large."""
        count = 0
        codec = self._stream.codec_context
        max_kept = MAX_KEPT_BYTES // (codec.width * codec.height * 3 // 2)
        for count, frame in enumerate(self._decode_from_start(), start=1):
            if count <= max_kept:
                self._kept.append(frame)
            else:
                self._kept.clear()
        return count

    def _decode_after_seeking(self, wanted: npt.NDArray[np.int64], pictures: _Pictures) -> None:
        """Seek to the key frames before the `wanted` numbers and pick frames by timestamp."""
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
                    place = places.pop(_time(frame), None)
                    if place is not None:
                        pictures.store(place, frame)
                if not places:
                    break

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

    def _packets(self, seek_to: int | None = None) -> Iterator[Packet]:
        """Packets to the end of the file, or to where it cannot be read further."""
        self._at_start = False
        try:
            if seek_to is not None:
                self._container.seek(seek_to, stream=self._stream)
            yield from self._container.demux(self._stream)
        except av.FFmpegError as error:
            self._problem = error

    def _decode(self, packet: Packet) -> list[VideoFrame]:
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
    size: int
    key: bool
    discarded: bool
    """Before the start that an edit list sets: decoded, but not shown."""
    hidden: bool
    """A VP8 reference picture that is never shown: bit 4 of its header is not set."""

    @classmethod
    def of(cls, packet: Packet, codec: str) -> _PacketInfo:
        hidden = codec == "vp8" and not memoryview(packet)[0] & 0x10
        time = _time(packet)
        dts = time if packet.dts is None else packet.dts
        return cls(time, dts, packet.size, packet.is_keyframe, packet.is_discard, hidden)


class _Pictures:
    """The RGB pictures of one read, allocated at the first of them."""

    def __init__(self, count: int, stream: VideoStream) -> None:
        self.filled = np.zeros(count, dtype=bool)
        self._size = stream.codec_context.width, stream.codec_context.height
        self._reformatter = VideoReformatter()
        self.rgb = np.empty(0, dtype=np.uint8)

    @property
    def complete(self) -> bool:
        return bool(self.filled.all())

    def store(self, place: int, frame: VideoFrame) -> None:
        """Convert `frame` and keep it; its size is the stream's even if it changes midway."""
        width, height = self._size
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", threads=1)
        pixels = np.frombuffer(memoryview(rgb.planes[0]), np.uint8)
        rows = pixels.reshape(height, -1)[:, : 3 * width]  # without their padding
        picture = _upright(rows.reshape(height, width, 3), frame)
        if not self.rgb.size:
            self.rgb = np.empty((len(self.filled), *picture.shape), dtype=np.uint8)
        self.rgb[place] = picture
        self.filled[place] = True


def _open(path: Path | str) -> tuple[InputContainer, VideoStream]:
    try:
        container = av.open(str(path))
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such video file") from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: not a readable video ({error})") from error
    stream = container.streams.best("video")
    codec = stream.codec_context if isinstance(stream, VideoStream) else None
    if not isinstance(stream, VideoStream) or codec is None or not codec.width:
        container.close()
        raise VideoError(f"{path}: no video stream that can be decoded")
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    codec.thread_type, codec.thread_count = "NONE", 1
    return container, stream


def _time(of: Packet | VideoFrame) -> int | None:
    """The presentation timestamp; old AVI files without B-frames only have the other one."""
    return of.dts if of.pts is None else of.pts


def _upright(picture: npt.NDArray[np.uint8], frame: VideoFrame) -> npt.NDArray[np.uint8]:
    """Turn and mirror `picture [H, W, 3]` as the display matrix of its frame asks for.

    The matrix begins a, b, u, c, d: a pixel (x, y) is shown at (a·x + c·y, b·x + d·y).
    """
    side_data = cast(Mapping[str, SideData], frame.side_data)
    if "DISPLAYMATRIX" not in side_data:
        return picture
    matrix = np.frombuffer(memoryview(side_data["DISPLAYMATRIX"]), np.int32)
    a, b, _, c, d = matrix[:5].tolist()
    if abs(a) < abs(b):
        picture, a, d = picture.swapaxes(0, 1), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
