"""Makes small test videos in which every frame shows its own number.

The upper half of a frame holds eight blocks, the bits of the number, lowest first, in two rows of
four: no codec blurs white into black. The lower half moves, so that frames depend on each other.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.packet import Packet


def numbered_frame(number: int, height: int, width: int) -> np.ndarray:
    """uint8 `[height, width, 3]` showing `number` (0 … 255)."""
    y, x = np.mgrid[:height, :width]
    frame = np.stack([3 * x + 5 * number, 5 * y + x, 7 * (x + y) + 3 * number], -1) % 256
    for bit in range(8):
        row, column = divmod(bit, 4)
        frame[
            row * height // 4 : (row + 1) * height // 4,
            column * width // 4 : (column + 1) * width // 4,
        ] = 255 * (number >> bit & 1)
    return frame.astype(np.uint8)


def read_number(frame: np.ndarray) -> int:
    """The number that `numbered_frame` drew, from any decoded `[height, width, 3]`."""
    height, width = frame.shape[:2]
    blocks = frame[: height // 4 * 2, : width // 4 * 4].astype(float)
    bits = blocks.reshape(2, height // 4, 4, width // 4, 3).mean((1, 3, 4)).ravel() > 127
    return int(bits @ (1 << np.arange(8)))


def write_video(
    path: Path,
    num_frames: int,
    codec: str = "libx264",
    *,
    size: tuple[int, int] = (48, 64),
    pix_fmt: str = "yuv420p",
    rate: int = 25,
    ticks: Sequence[int] | None = None,
    **options: object,
) -> Path:
    """Encode frames 0 … `num_frames − 1`; `ticks` places them at multiples of `1 / rate` s."""
    height, width = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.options = {key.replace("_", "-"): str(value) for key, value in options.items()}
        stream.codec_context.thread_count = 1
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, height, width), "rgb24")
            frame.pts = number if ticks is None else ticks[number]
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def remux(
    source: Path,
    target: Path,
    edit: Callable[[list[Packet]], Iterable[Packet]] = list,
    **options: str,
) -> Path:
    """Copy the packets of a video as `edit` returns them, without coding them again."""
    with av.open(str(source)) as reader, av.open(str(target), "w", options=options) as writer:
        template = reader.streams.video[0]
        stream = writer.add_stream_from_template(template)
        for packet in edit([packet for packet in reader.demux(template) if packet.size]):
            packet.stream = stream
            writer.mux(packet)
    return target


PICTURE = b"\0\0\1\xb6"  # the start code of an MPEG-4 picture; two bits of its type follow
# User data by which a DivX stream says "p", packed.
PACKED = b"\0\0\1\xb2DivX503b1393p"
# Type P (01), no whole second (0), marker, 5 bits of time, marker, not coded (0), stuffing.
NOT_CODED = PICTURE + bytes([0b01_0_1_0000, 0b0_1_0_01111])


def pack_b_frames(packets: list[Packet]) -> list[Packet]:
    """MPEG-4 in the packed form of DivX and Xvid: P B1 B2 becomes [P B1] [B2] [not coded].

    The time field of `NOT_CODED` is that of 25 frames a second.
    """
    chunks: list[bytes] = []
    pending = False  # the last group has a packet more to come than it had chunks
    for packet in packets:
        data = bytes(packet)
        is_b = data[data.index(PICTURE) + 4] >> 6 == 2
        if is_b and not pending:
            chunks[-1] += data
            pending = True
            continue
        if pending and not is_b:
            chunks.append(NOT_CODED)
            pending = False
        chunks.append(data)
    if pending:
        chunks.append(NOT_CODED)
    start = chunks[0].index(PICTURE)
    chunks[0] = chunks[0][:start] + PACKED + chunks[0][start:]
    return [_like(packet, chunk) for packet, chunk in zip(packets, chunks, strict=True)]


def repeat_pictures(packets: list[Packet]) -> list[Packet]:
    """MPEG-4 that says "the last picture again" after every fourth, as Xvid does for stills."""
    chunks = []
    for place, packet in enumerate(packets):
        chunks += [(packet, bytes(packet))]
        chunks += [(packet, NOT_CODED)] if place % 4 == 3 else []
    copies = [_like(packet, data) for packet, data in chunks]
    for tick, copy in enumerate(copies):
        copy.pts = copy.dts = tick
    return copies


def hide_pictures(packets: list[Packet]) -> list[Packet]:
    """VP8 whose every fifth picture is a reference for the others only, never shown."""
    copies = []
    for place, packet in enumerate(packets):
        data = bytearray(packet)
        data[0] &= 0xFF if place % 5 != 4 else ~0x10
        copies.append(_like(packet, bytes(data)))
    return copies


def _like(packet: Packet, data: bytes) -> Packet:
    copy = Packet(data)
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    return copy


def copy_decoding_times(packets: list[Packet]) -> list[Packet]:
    """Presentation times that are those of decoding, as many a tool makes of an AVI file."""
    start = packets[0].dts
    for packet in packets:
        packet.dts -= start
        packet.pts = packet.dts
    return packets


def copy_later_decoding_times(packets: list[Packet]) -> list[Packet]:
    """The same from the middle of the video on."""
    for packet in packets[len(packets) // 2 :]:
        packet.pts = packet.dts
    return packets


def mark_all_as_key(packets: list[Packet]) -> list[Packet]:
    """Key flags on all packets, as of a file whose table of key frames is lost."""
    for packet in packets:
        packet.is_keyframe = True
    return packets


def turn_later_frames(packets: list[Packet]) -> list[Packet]:
    """Let the second half of an H.264 stream with start codes be shown a quarter turned."""
    middle = len(packets) // 2
    turn = BitStreamFilterContext(
        "h264_metadata=display_orientation=insert:rotate=90", packets[0].stream
    )
    turned = [copy for packet in packets[middle:] for copy in turn.filter(packet)]
    return packets[:middle] + turned


def write_field_pairs(path: Path, num_frames: int) -> Path:
    """Raw H.264, 16×32, whose frames are two packets, a field each; every sample is stored."""
    units = [
        # Main profile, level 3; 4 bits of frame number, no reordering, 1 reference, 1×1 pairs
        # of macroblocks; pictures may be fields.
        bytes([0x67, 77, 0, 30]) + _bits("1 1 011 010 0 1 1 0 0 1 0 0"),
        bytes([0x68]) + _bits("1 1 0 0 1 1 1 0 00 1 1 1 0 0 0"),
    ]
    for number in range(num_frames):
        luma = numbered_frame(number, 32, 16).mean(-1).clip(16, 235).astype(np.uint8)
        for parity in range(2):
            # First macroblock, kind I, parameter set, frame number, field, parity. The first
            # field has the number of an IDR picture and two marking bits; the second, one.
            kind = f"{'1' if number % 2 else '010'} 0 0" if parity == 0 else "0"
            header = f"1 0001000 1 0000 1 {parity} {kind} 1 000011010"
            field = _bits(header, stop=False) + luma[parity::2].tobytes() + bytes([128]) * 128
            units.append(bytes([0x65 if parity == 0 else 0x61]) + field + b"\x80")
    path.write_bytes(b"".join(b"\0\0\0\1" + unit for unit in units))
    return path


def _bits(text: str, *, stop: bool = True) -> bytes:
    """Zeros and ones as bytes; `stop`: after the one that ends a unit of H.264."""
    text = text.replace(" ", "") + "1" * stop
    return bytes(int(text[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(text), 8))


def trim_by_edit_list(path: Path, ticks: int) -> Path:
    """Let the mp4's edit list start `ticks` (units of the track) later than it does."""
    data = bytearray(path.read_bytes())
    # elst: 4 bytes name, 4 version and flags, 4 count, then duration, media time, rate
    media_time = data.index(b"elst") + 4 + 4 + 4 + 4
    (start,) = struct.unpack_from(">i", data, media_time)
    struct.pack_into(">i", data, media_time, start + ticks)
    path.write_bytes(data)
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Store with the mp4's track that a pixel (x, y) is shown at (a·x + c·y, b·x + d·y)."""
    data = bytearray(path.read_bytes())
    # tkhd: 4 bytes name, 4 version and flags, then 36 bytes of times, layer and volume
    matrix = data.index(b"tkhd") + 4 + 4 + 36
    one = 1 << 16
    struct.pack_into(">9i", data, matrix, a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def bare_png(width: int, height: int, chunk: bytes) -> bytes:
    """A 1-bit PNG with `chunk` (kind, then content) before its pixels, all of the first row."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + width // 8))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in (b"IHDR" + header, chunk, b"IDAT" + pixels, b"IEND")
    )


def decode_all(path: Path) -> list[np.ndarray]:
    """The reference: every frame of a full sequential decode, `[H, W, 3]` as stored."""
    frames = []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for packet in container.demux(video=0):
            with suppress(av.InvalidDataError):
                frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
    return frames
