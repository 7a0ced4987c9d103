"""What a packet's own bits say of the pictures in it, whatever its container says.

Only the first bits of each unit are parsed. What is damaged, unusual or of a codec not listed
here is no proof of anything: whoever reads it must decode from the start and count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

HEAD = 1024
"""Bytes of a unit that are looked at."""
MAX_REPEAT_SIZE = 19
"""Bytes up to which an MPEG-4 packet may mean "the last picture again" and yield no frame."""
HIGH_PROFILES = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
"""H.264 profiles whose parameter sets tell the chroma format."""


class Picture(NamedTuple):
    """The one picture of a packet."""

    starts: bool
    """Whether decoding can start here."""
    backward: bool = False
    """Whether it is shown before a picture that is decoded earlier (a B picture)."""
    shown: bool = True
    """False for a reference that is never shown."""


Inspector = Callable[[bytes], Picture]
"""Looks at a packet; raises `ValueError` or `IndexError` if it isn't exactly one picture."""


def inspector(codec: str, intra_only: bool, extradata: bytes | None) -> Inspector | None:
    """How to look at the packets of a stream; `None` if they can't prove anything.

    Args:
        codec: FFmpeg's name of the codec.
        intra_only: whether every packet of the codec decodes on its own.
        extradata: what the container stores for the decoder.
    """
    extradata = extradata or b""
    try:
        if codec == "h264":
            length_size = _length_size(extradata, 4)
            if length_size:
                _refuse_fields(islice(_units(extradata[6:], 2), extradata[5] & 31))
            else:
                _refuse_fields(_units(extradata, 0))
            return partial(_h264, length_size=length_size)
        if codec == "hevc":
            return partial(_hevc, length_size=_length_size(extradata, 21))
    except (ValueError, IndexError):
        return None
    inspectors = {"mpeg4": _mpeg4, "vp8": _vp8, "vp9": _vp9, "av1": _av1, "mjpeg": _mjpeg}
    return inspectors.get(codec, _intra if intra_only else None)


def _h264(data: bytes, length_size: int) -> Picture:
    pictures, starts, backward = 0, False, False
    for unit in _units(data, length_size):
        kind = unit[0] & 31
        if kind == 7:
            _refuse_fields([unit])
        elif kind == 6:
            starts |= _has_recovery_point(unit)
        elif kind in (1, 5):
            bits = _Bits(unit[1:9])
            if bits.golomb() == 0:  # the number of the slice's first macroblock
                pictures += 1
                starts |= kind == 5
                backward = _slice_kind(bits, 10) % 5 == 1
    return _one(pictures, Picture(starts, backward))


def _hevc(data: bytes, length_size: int) -> Picture:
    pictures, starts, backward = 0, False, False
    for unit in _units(data, length_size):
        kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
        if kind in (16, 17, 36, 37):
            raise ValueError("a splice: pictures that follow it may be dropped")
        if kind < 32 and layer == 0:
            bits = _Bits(unit[2:10])
            if bits.read(1):  # the first slice of a picture
                pictures += 1
                starts = 16 <= kind <= 23
                bits.read(1 if starts else 0)
                bits.golomb()
                backward = _slice_kind(bits, 3) == 0
    return _one(pictures, Picture(starts, backward))


def _mpeg4(data: bytes) -> Picture:
    if len(data) <= MAX_REPEAT_SIZE:
        raise ValueError("perhaps no picture")
    _, *pictures = data.split(b"\0\0\1\xb6")
    kind = pictures[0][0] >> 6
    return _one(len(pictures), Picture(starts=kind == 0, backward=kind == 2))


def _vp8(data: bytes) -> Picture:
    return Picture(starts=not data[0] & 1, shown=bool(data[0] & 0x10))


def _vp9(data: bytes) -> Picture:
    shown, starts = 0, False
    for place, frame in enumerate(_vp9_frames(data)):
        bits = _Bits(frame[:2])
        if bits.read(2) != 2:
            raise ValueError("not a frame")
        if bits.read(2) == 3:
            bits.read(1)
        repeats, not_key, is_shown = bits.read(1), bits.read(1), bits.read(1)
        shown += repeats or is_shown
        starts |= place == 0 and not repeats and not not_key
    return _one(max(shown, 1), Picture(starts, shown=shown == 1))


def _vp9_frames(data: bytes) -> list[bytes]:
    """The frames of a packet, which an index at its end tells apart if there are several."""
    end = data[-1]
    count, width = (end & 7) + 1, (end >> 3 & 3) + 1
    index = data[-2 - count * width :]
    if end >> 5 != 0b110 or index[0] != end:
        return [data]
    frames, place = [], 0
    for start in range(1, 1 + count * width, width):
        size = int.from_bytes(index[start : start + width], "little")
        frames.append(data[place : place + size])
        place += size
    return frames


def _av1(data: bytes) -> Picture:
    place, shown, starts, sequence = 0, 0, False, False
    while place < len(data):
        kind, extended, sized = data[place] >> 3, data[place] & 4, data[place] & 2
        place += 2 if extended else 1
        size, place = _leb128(data, place) if sized else (len(data) - place, place)
        if place + size > len(data):
            raise ValueError("a unit runs past its packet")
        sequence |= kind == 1
        if kind in (3, 6):  # a frame's header
            bits = _Bits(data[place : place + 1])
            repeats, frame_kind, is_shown = bits.read(1), bits.read(2), bits.read(1)
            shown += repeats or is_shown
            starts |= sequence and not repeats and frame_kind == 0 and bool(is_shown)
        place += size
    return _one(shown, Picture(starts))


def _mjpeg(data: bytes) -> Picture:
    return _one(int(data.startswith(b"\xff\xd8")), Picture(starts=True))


def _intra(data: bytes) -> Picture:
    return Picture(starts=True)


def _one(count: int, picture: Picture) -> Picture:
    if count != 1:
        raise ValueError(f"{count} pictures")
    return picture


def _units(data: bytes, length_size: int) -> Iterator[bytes]:
    """The heads of the units of an H.264 or HEVC packet; `length_size` 0: after start codes."""
    if not length_size:
        yield from (unit[:HEAD] for unit in data.split(b"\0\0\1")[1:])
        return
    place = 0
    while place < len(data):
        start = place + length_size
        size = int.from_bytes(data[place:start])
        place = start + size
        if not 0 < size <= len(data) - start:
            raise ValueError("a unit runs past its packet")
        yield data[start : min(place, start + HEAD)]


def _length_size(extradata: bytes, place: int) -> int:
    """Bytes of the lengths before units in ISO files; 0 where start codes part the units."""
    return extradata[place] % 4 + 1 if extradata[:1] == b"\1" else 0


def _refuse_fields(units: Iterable[bytes]) -> None:
    """Raise `ValueError` where a parameter set of H.264 lets two packets be one frame."""
    for unit in units:
        if unit[0] & 31 != 7:
            continue
        bits = _Bits(unit[4:260])
        bits.golomb()  # the set's number
        if unit[1] in HIGH_PROFILES:
            if bits.golomb() == 3:  # the chroma format
                bits.read(1)
            bits.skip(2)  # depths of luma and chroma
            bits.read(1)
            if bits.read(1):
                raise ValueError("scaling lists, which are not parsed here")
        bits.skip(1)  # digits of frame numbers
        order = bits.golomb()
        if order == 0:
            bits.skip(1)
        elif order == 1:
            bits.read(1)
            bits.skip(2)
            bits.skip(bits.golomb())
        bits.skip(1)  # reference frames
        bits.read(1)
        bits.skip(2)  # width and height
        if not bits.read(1):
            raise ValueError("pictures may be fields")


def _has_recovery_point(unit: bytes) -> bool:
    """Whether a unit of supplemental information of H.264 says that decoding can start here."""
    data, place = _unescape(unit), 1
    while place + 1 < len(data):
        header = [0, 0]  # kind and size of a message
        for i in range(2):
            while data[place] == 255:
                header[i] += 255
                place += 1
            header[i] += data[place]
            place += 1
        if header[0] == 6:
            return True
        place += header[1]
    return False


def _slice_kind(bits: _Bits, count: int) -> int:
    kind = bits.golomb()
    if kind >= count:
        raise ValueError("no such kind of slice")
    return kind


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """A number of AV1, seven bits a byte, and the place behind it."""
    for length in range(8):
        if not data[place + length] & 0x80:
            digits = data[place : place + length + 1]
            number = sum((digit & 0x7F) << 7 * i for i, digit in enumerate(digits))
            return number, place + length + 1
    raise ValueError("a number of more than 8 bytes")


def _unescape(data: bytes) -> bytes:
    """Drop the bytes that keep H.264 and HEVC data free of start codes."""
    return data.replace(b"\0\0\3", b"\0\0")


class _Bits:
    """Reads bits from the front; `ValueError` at the end."""

    def __init__(self, data: bytes) -> None:
        data = _unescape(data)
        self._bits, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("ends early")
        return self._bits >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """A number in the Exp-Golomb code of H.264 and HEVC."""
        zeros = self._left - (self._bits & (1 << self._left) - 1).bit_length()
        return self.read(2 * zeros + 1) - 1

    def skip(self, count: int) -> None:
        """Pass over `count` Exp-Golomb numbers."""
        for _ in range(count):
            self.golomb()
