import os
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.packet import Packet

from devias.data.readers import video as decoding
from devias.data.readers.video import FrameIndex, VideoError, VideoReader
from media import (
    copy_decoding_times,
    copy_later_decoding_times,
    decode_all,
    hide_pictures,
    mark_all_as_key,
    pack_b_frames,
    read_number,
    remux,
    repeat_pictures,
    set_display_matrix,
    trim_by_edit_list,
    turn_later_frames,
    write_field_pairs,
    write_video,
)

Maker = Callable[[Path], Path]
Editor = Callable[[list[Packet]], list[Packet]]

CLOSED = {"g": 12, "bf": 2}
REFRESH = {"x264_params": "intra-refresh=1:keyint=10:bframes=2"}
OPEN = {"x264_params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3"}
STILL_TICKS = [0, 1, 2, 10, 11, 20, 21, 22, 23, 50, 51, 57]


def packed(folder: Path, **options) -> Path:
    plain = write_video(folder / "plain.avi", 31, "mpeg4", **options)
    return remux(plain, folder / "v.avi", pack_b_frames)


def repeated(folder: Path) -> Path:
    plain = write_video(folder / "plain.avi", 30, "mpeg4", g=10)
    return remux(plain, folder / "v.avi", repeat_pictures)


def hidden(folder: Path) -> Path:
    plain = write_video(folder / "plain.webm", 30, "libvpx", g=12)
    return remux(plain, folder / "v.webm", hide_pictures)


def trimmed(folder: Path) -> Path:
    path = write_video(folder / "v.mp4", 40, **CLOSED)
    return trim_by_edit_list(path, 17 * 512)  # 17 frames; 512 = 12800 / 25 units are a frame


def started_late(folder: Path) -> Path:
    """A transport stream recorded from the middle of a group of pictures on."""
    whole = write_video(folder / "whole.ts", 40, size=(96, 128), **OPEN)
    rows = np.frombuffer(whole.read_bytes(), np.uint8).reshape(-1, 188)
    (folder / "v.ts").write_bytes(rows[:3].tobytes() + rows[len(rows) // 3 :].tobytes())
    return folder / "v.ts"


def edited(edit: Editor, source: Maker, name: str, **options: str) -> Maker:
    return lambda folder: remux(source(folder), folder / name, edit, **options)


def field_pairs(name: str) -> Maker:
    def set_times(packets: list[Packet]) -> list[Packet]:
        for tick, packet in enumerate(packets):
            packet.pts = packet.dts = tick
            packet.time_base = Fraction(1, 50)
        return packets

    return edited(set_times, lambda d: write_field_pairs(d / "fields.h264", 9), name)


def backwards(folder: Path) -> Path:
    """Two recordings in one transport stream, the later one first."""
    late = write_video(folder / "late.ts", 20, ticks=range(1000, 1020), **CLOSED)
    early = write_video(folder / "early.ts", 20, **CLOSED)
    (folder / "v.ts").write_bytes(late.read_bytes() + early.read_bytes())
    return folder / "v.ts"


def cut_short(name: str, codec: str = "libx264") -> Maker:
    """Cut within its last packet; the index of an mp4 stands before the frames."""

    def make(folder: Path) -> Path:
        options = {"movflags": "faststart"} if name.endswith("mp4") else {}
        whole = write_video(folder / f"whole{Path(name).suffix}", 25, codec, g=12, size=(96, 128))
        path = remux(whole, folder / name, **options)
        with av.open(str(path)) as container:
            last = max(
                (packet for packet in container.demux(video=0) if packet.size),
                key=lambda packet: packet.pos,
            )
            end = last.pos + last.size // 2
        path.write_bytes(path.read_bytes()[:end])
        return path

    return make


def encoded(name: str, num_frames: int, codec: str = "libx264", **options) -> Maker:
    return lambda folder: write_video(folder / name, num_frames, codec, **options)


# name: (how to make it, the numbers its frames show, whether frames must be counted)
VIDEOS: dict[str, tuple[Maker, list[int] | None, bool]] = {
    "avi": (encoded("v.avi", 30, "mpeg4", size=(96, 128), g=10), [*range(30)], False),
    "avi, B-frames": (encoded("v.avi", 31, "mpeg4", g=10, bf=2), [*range(31)], True),
    "avi, packed, one B-frame": (lambda d: packed(d, g=10, bf=1), [*range(31)], True),
    "avi, packed, two B-frames": (lambda d: packed(d, g=10, bf=2), [*range(31)], True),
    "avi, repeated pictures": (repeated, [*range(30)], True),
    "avi, gaps": (encoded("v.avi", 12, "mjpeg", pix_fmt="yuvj420p", ticks=STILL_TICKS),
                  [*range(12)], False),
    "avi, h264 with B-frames": (encoded("v.avi", 30, bf=2, g=12), [*range(30)], True),
    "mp4, mpeg4 with B-frames": (encoded("v.mp4", 30, "mpeg4", size=(96, 128), g=10, bf=2),
                                 [*range(30)], False),
    "mp4, closed groups": (encoded("v.mp4", 40, **CLOSED), [*range(40)], False),
    "mp4, open groups": (encoded("v.mp4", 40, **OPEN), [*range(40)], False),
    "mp4, one group": (encoded("v.mp4", 40, g=250, bf=3), [*range(40)], False),
    "mp4, trimmed by its edit list": (trimmed, [*range(17, 40)], False),
    "mp4, variable rate": (encoded("v.mp4", 12, bf=2, g=5, ticks=STILL_TICKS), [*range(12)], False),
    "mp4, hevc": (encoded("v.mp4", 30, "libx265", bf=2, g=8, x265_params="log-level=none"),
                  [*range(30)], False),
    "mp4, gradual refresh": (encoded("v.mp4", 40, **REFRESH), [*range(40)], False),
    "transport stream": (encoded("v.ts", 40, **CLOSED), [*range(40)], False),
    "transport stream, open groups": (encoded("v.ts", 40, **OPEN), [*range(40)], False),
    "transport stream, mpeg2": (encoded("v.ts", 40, "mpeg2video", **CLOSED), [*range(40)], True),
    "transport stream, started late": (started_late, None, True),
    "mkv, h264": (encoded("v.mkv", 40, **CLOSED), [*range(40)], False),
    "mkv, vp9": (encoded("v.mkv", 30, "libvpx-vp9", g=12, deadline="realtime"),
                 [*range(30)], False),
    "webm, vp8 with hidden pictures": (hidden, [i for i in range(30) if i % 5 != 4], False),
    "no timestamps": (encoded("v.h264", 20, bf=2, g=8), [*range(20)], True),
    "odd size": (encoded("v.mp4", 12, "mpeg4", size=(51, 67), g=6), [*range(12)], None),
    "odd size, vp9": (encoded("v.mkv", 12, "libvpx-vp9", size=(51, 67), deadline="realtime"),
                      [*range(12)], False),
    "gray": (encoded("v.mp4", 12, pix_fmt="gray", bf=2), [*range(12)], False),
    "full range": (encoded("v.mp4", 12, pix_fmt="yuvj420p", bf=2), [*range(12)], False),
    "10 bit": (encoded("v.mp4", 12, pix_fmt="yuv420p10le", bf=2), [*range(12)], False),
    "one frame": (encoded("v.mp4", 1), [0], False),
    "one frame, avi": (encoded("v.avi", 1, "mpeg4", bf=2), [0], None),
    **{
        f"{name}, times of decoding": (
            edited(copy_decoding_times, encoded("whole.mp4", 40, **CLOSED), name), None, True
        )
        for name in ("v.mp4", "v.mov", "v.mkv", "v.ts")
    },
    "mp4, hevc, times of decoding": (
        edited(copy_decoding_times, encoded("whole.mp4", 30, "libx265", bf=2, g=8,
                                            x265_params="log-level=none"), "v.mp4"),
        [*range(30)], True),
    "mp4, mpeg4, times of decoding": (
        edited(copy_decoding_times, encoded("whole.mp4", 30, "mpeg4", bf=2, g=8), "v.mp4"),
        [*range(30)], True),
    "mkv, times of decoding in its second half": (
        edited(copy_later_decoding_times, encoded("whole.mkv", 40, **CLOSED), "v.mkv"),
        None, True),
    "transport stream, times go backwards": (backwards, [*range(20)] * 2, True),
    "mp4, field pairs": (field_pairs("v.mp4"), [*range(9)], True),
    "mkv, field pairs": (field_pairs("v.mkv"), [*range(9)], True),
    "transport stream, field pairs": (field_pairs("v.ts"), [*range(9)], True),
    "mp4, all marked as key": (
        edited(mark_all_as_key, encoded("whole.mp4", 30, size=(96, 128), g=10), "v.mp4"),
        [*range(30)], False),
    "mp4, mpeg4, all marked as key": (
        edited(mark_all_as_key, encoded("whole.mp4", 30, "mpeg4", size=(96, 128), g=10), "v.mp4"),
        [*range(30)], False),
    **{
        f"{codec}, all marked as key": (
            edited(mark_all_as_key, encoded(f"whole.{end}", 20, codec, size=(144, 176), g=10,
                                            pix_fmt=pix_fmt), f"v.{end}"),
            [*range(20)], True)
        for codec, pix_fmt, end in [
            ("cinepak", "rgb24", "mov"), ("qtrle", "rgb24", "mov"), ("svq1", "yuv410p", "mov"),
            ("h263", "yuv420p", "avi"), ("flv", "yuv420p", "flv"), ("wmv2", "yuv420p", "avi"),
            ("mpeg2video", "yuv420p", "mkv"),
        ]
    },
    "mkv, av1": (encoded("v.mkv", 20, "libsvtav1", size=(96, 128), g=8, preset=12),
                 [*range(20)], False),
    "mp4, cut": (cut_short("v.mp4"), [*range(24)], True),
    "avi, cut": (cut_short("v.avi", "mpeg4"), None, True),
    "mkv, cut": (cut_short("v.mkv"), [*range(24)], None),
}  # fmt: skip


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Makes a video of `VIDEOS` once → its path and the frames of a sequential decode."""
    made: dict[str, tuple[Path, list[np.ndarray]]] = {}

    def make(name: str) -> tuple[Path, list[np.ndarray]]:
        if name not in made:
            path = VIDEOS[name][0](tmp_path_factory.mktemp("video"))
            made[name] = path, decode_all(path)
        return made[name]

    return make


def assert_exact(path: Path, reference: list[np.ndarray], draws: list[list[int]]) -> None:
    with VideoReader(path) as reader:
        assert reader.num_frames == len(reference)
        for indices in draws:
            frames = reader.read(indices)
            assert frames.dtype == torch.uint8
            assert frames.shape == (len(indices), *reference[0].shape)
            wrong = [
                i for i, frame in zip(indices, frames, strict=True)
                if not np.array_equal(frame, reference[i])
            ]  # fmt: skip
            assert wrong == []


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_are_those_of_a_sequential_decode(video, name):
    path, reference = video(name)
    _, numbers, counted = VIDEOS[name]
    if numbers is not None:
        assert [read_number(frame) for frame in reference] == numbers
    count, rng = len(reference), random.Random(0)
    clips = [[min(start + 3 * i, count - 1) for i in range(4)] for start in range(0, count, 5)]
    anything = [[rng.randrange(count) for _ in range(5)] for _ in range(4)]
    single = [[i] for i in range(count)]
    assert_exact(path, reference, [*clips, *anything, *single, [*range(count)]])
    with VideoReader(path) as reader:
        assert counted is None or reader.index.counted == counted


def test_a_stream_started_late_loses_only_what_does_not_decode(video):
    _, reference = video("transport stream, started late")
    numbers = [read_number(frame) for frame in reference]
    assert numbers == [*range(40 - len(numbers), 40)]
    assert 5 < len(numbers) < 40


@pytest.mark.parametrize(
    ("matrix", "rotation", "turned"),
    [
        ((1, 0, 0, 1), 0, lambda frame: frame),
        ((0, 1, -1, 0), -90, lambda frame: np.rot90(frame, -1)),
        ((-1, 0, 0, -1), 180, lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), 90, lambda frame: np.rot90(frame)),
        ((-1, 0, 0, 1), None, lambda frame: frame[:, ::-1]),
        ((1, 0, 0, -1), None, lambda frame: frame[::-1]),
        ((0, 1, 1, 0), None, lambda frame: frame.swapaxes(0, 1)),
        ((0, -1, -1, 0), None, lambda frame: np.rot90(frame, 2).swapaxes(0, 1)),
    ],
)
def test_frames_are_upright(tmp_path, matrix, rotation, turned):
    path = set_display_matrix(write_video(tmp_path / "v.mp4", 6, bf=2), *matrix)
    with av.open(str(path)) as container:
        stored = list(container.decode(video=0))
    if rotation is not None:  # FFmpeg's own reading of the matrix, degrees anti-clockwise
        assert abs(stored[0].rotation) % 360 == abs(rotation)
        assert rotation % 180 == 0 or stored[0].rotation == rotation
    with VideoReader(path) as reader:
        frames = reader.read([4, 1]).numpy()
    for number, frame in zip([4, 1], frames, strict=True):
        assert np.array_equal(frame, turned(stored[number].to_ndarray(format="rgb24")))


def test_timestamps_are_seconds_since_the_first_frame(video):
    with VideoReader(video("mp4, variable rate")[0]) as reader:
        assert reader.timestamps.tolist() == [tick / 25 for tick in STILL_TICKS]
    for name in ("transport stream", "avi, B-frames", "mp4, trimmed by its edit list"):
        with VideoReader(video(name)[0]) as reader:
            assert reader.timestamps == pytest.approx(np.arange(reader.num_frames) / 25)


def test_index_of_an_earlier_reader_saves_the_demux_pass(video, monkeypatch):
    for name in ("mp4, open groups", "avi, packed, two B-frames"):
        path, reference = video(name)
        with VideoReader(path) as reader:
            index = pickle.loads(pickle.dumps(reader.index))
        with monkeypatch.context() as patch:
            patch.delattr(VideoReader, "_list_frames")
            with VideoReader(path, index) as reader:
                assert reader.num_frames == len(reference)
                frames = reader.read([20, 7, 7])
        assert [read_number(frame) for frame in frames.numpy()] == [20, 7, 7]


def count_decoded(monkeypatch) -> list:
    decode, packets = VideoReader._decode, []

    def spy(self, packet):
        packets.append(packet.pts)
        return decode(self, packet)

    monkeypatch.setattr(VideoReader, "_decode", spy)
    return packets


def test_decoding_starts_at_the_key_frame_and_ends_with_the_last_wanted_one(video, monkeypatch):
    decoded = count_decoded(monkeypatch)
    with VideoReader(video("mp4, closed groups")[0]) as reader:
        assert reader.index.key_pts.tolist() == [12 * i * 512 for i in range(4)]
        assert decoded == []
        reader.read([26])
        # from frame 24 to 26, and what the decoder holds back to put frames in order
        assert len(decoded) <= 3 + 4
        decoded.clear()
        reader.read([1, 37])
        assert len(decoded) <= 2 + 4 + 2 + 4


def test_a_wanted_frame_that_a_seek_misses_is_found_from_the_start(video, monkeypatch):
    path, reference = video("mp4, closed groups")
    with VideoReader(path) as reader:
        index = reader.index
    lost = replace(index, key_pts=index.key_pts + 1, key_dts=index.key_dts + 1)
    with VideoReader(path, replace(lost, key_pts=np.minimum(lost.key_pts, 1))) as reader:
        frames = reader.read([30, 2])
    assert np.array_equal(frames[0], reference[30])
    assert np.array_equal(frames[1], reference[2])


def test_large_videos_are_counted_without_keeping_their_frames(video, monkeypatch):
    path, reference = video("avi, packed, two B-frames")
    monkeypatch.setattr(decoding, "MAX_KEPT_BYTES", 48 * 64 * 3 // 2 * 10)
    assert_exact(path, reference, [[3, 20], [0], [30]])


def test_missing_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(VideoError, match=r"gone\.mp4: no such file"):
        VideoReader(tmp_path / "gone.mp4")
    with pytest.raises(VideoError, match="not a regular file"):
        VideoReader(tmp_path)
    for content in (b"", b"<html>not found</html>", bytes(range(256)) * 40):
        (tmp_path / "page.mp4").write_bytes(content)
        with pytest.raises(VideoError, match=r"page\.mp4: not a readable video"):
            VideoReader(tmp_path / "page.mp4")


def test_file_without_video_is_named(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match=r"sound\.mp4: no video stream"):
        VideoReader(tmp_path / "sound.mp4")


def test_frame_numbers_out_of_range_are_named(video):
    with VideoReader(video("mp4, closed groups")[0]) as reader:
        with pytest.raises(VideoError, match=r"v\.mp4: frames 2 to 40 .* 0 to 39"):
            reader.read([40, 2])
        with pytest.raises(VideoError, match=r"v\.mp4: frames -1 to 3 .* 0 to 39"):
            reader.read([3, -1])
        with pytest.raises(ValueError, match="non-empty"):
            reader.read([])


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_truncated_file_gives_the_frames_it_still_has(tmp_path):
    path = write_video(tmp_path / "v.mkv", 40, size=(96, 128), **CLOSED)
    with VideoReader(path) as reader:
        index = reader.index
    cut(path, 0.6)
    reference = decode_all(path)
    assert 5 < len(reference) < 40
    with VideoReader(path, index) as reader:
        assert np.array_equal(reader.read([4])[0], reference[4])
        with pytest.raises(VideoError, match=r"v\.mkv: frame 39 does not decode"):
            reader.read([4, 39])
    with VideoReader(path) as reader, pytest.raises(VideoError, match="frames 39 to 39"):
        reader.read([39])


def test_mp4_cut_before_its_index_is_unreadable(tmp_path):
    path = write_video(tmp_path / "v.mp4", 20)
    cut(path, 0.5)
    with pytest.raises(VideoError, match=r"v\.mp4: not a readable video"):
        VideoReader(path)


def test_damage_costs_only_what_depends_on_it(tmp_path):
    path = write_video(tmp_path / "v.mp4", 40, **CLOSED)
    with av.open(str(path)) as container:
        places = {
            packet.pts // 512: (packet.pos, packet.size)
            for packet in container.demux(video=0)
            if packet.size
        }
    data = bytearray(path.read_bytes())
    for number in range(12, 24):  # the second of the groups of 12
        start, size = places[number]
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    left = decode_all(path)
    assert [read_number(frame) for frame in left] == [*range(12), *range(24, 40)]
    assert_exact(path, left, [[0, 11, 12, 27], [15], [27]])


def test_what_a_decoder_makes_of_damage_is_that_of_a_sequential_decode(tmp_path):
    path = write_video(tmp_path / "v.mp4", 40, size=(96, 128), **CLOSED)
    with av.open(str(path)) as container:
        key = [packet for packet in container.demux(video=0) if packet.is_keyframe][1]
        place = key.pos + key.size // 3
    data = bytearray(path.read_bytes())
    data[place : place + 8] = bytes(byte ^ 0x55 for byte in data[place : place + 8])
    path.write_bytes(data)
    reference = decode_all(path)
    assert len(reference) == 40
    assert_exact(path, reference, [[12], [14, 30], [23, 39], [2]])


def test_frames_keep_the_orientation_and_the_size_of_the_first(tmp_path):
    path = remux(write_video(tmp_path / "a.ts", 24, **CLOSED), tmp_path / "v.ts", turn_later_frames)
    with av.open(str(path)) as container:
        rotations = [frame.rotation for frame in container.decode(video=0)]
    assert rotations.count(90) == 1
    turned = rotations.index(90)
    reference = decode_all(path)
    with VideoReader(path) as reader:
        frames = reader.read([*range(24)])
        assert all(np.array_equal(a, b) for a, b in zip(frames, reference, strict=True))
        assert np.array_equal(reader.read([turned])[0], np.rot90(reference[turned]))
    small = write_video(tmp_path / "b.ts", 12, size=(32, 40), ticks=range(30, 42), **CLOSED)
    with path.open("ab") as file:
        file.write(small.read_bytes())
    with VideoReader(path) as reader:
        assert reader.num_frames == 36
        frames = reader.read([0, 35])
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert frames.shape == (2, codec.height, codec.width, 3)
    assert [read_number(frame) for frame in frames.numpy()] == [0, 11]


def test_tags_of_other_encodings_are_no_error(tmp_path):
    plain = write_video(tmp_path / "plain.webm", 3, "libvpx")
    with av.open(str(plain)) as reader, av.open(str(tmp_path / "v.webm"), "w") as writer:
        writer.metadata["title"] = "TITLETITLE"
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)
    data = (tmp_path / "v.webm").read_bytes()
    assert b"TITLETITLE" in data
    (tmp_path / "v.webm").write_bytes(data.replace(b"TITLETITLE", b"\xff\xfe\xe9\xe8TITLE\xc3"))
    with VideoReader(tmp_path / "v.webm") as reader:
        assert reader.read([2]).shape == (1, 48, 64, 3)


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile other.ts\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    ],
    ids=["concat", "hls", "sdp", "dash"],
)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ffconcat", ".sdp", ".mpd"])
def test_files_that_name_other_files_are_refused(tmp_path, content, suffix):
    write_video(tmp_path / "other.ts", 3)
    path = tmp_path / f"v{suffix}"
    path.write_text(content)
    with pytest.raises(VideoError, match=rf"v\{suffix}: not a (readable )?video"):
        VideoReader(path)


def test_names_are_names_and_nothing_else(tmp_path, monkeypatch):
    video = write_video(tmp_path / "whole.mp4", 3)
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "http:x.mp4", "file:y.mp4", "concat:a|b.mp4", "%03d.mp4", "a?b#c&.mp4"):
        (tmp_path / name).write_bytes(video.read_bytes())
        for path in (name, tmp_path / name):
            with VideoReader(path) as reader:
                assert reader.num_frames == 3
    for name in (
        "http://localhost/v.mp4",
        "pipe:0",
        "concat:whole.mp4|whole.mp4",
        "file:whole.mp4",
    ):
        with pytest.raises(VideoError, match="no such file"):
            VideoReader(name)


def test_pipes_and_devices_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "v.mp4")
    for path in (tmp_path / "v.mp4", "/dev/zero"):
        with pytest.raises(VideoError, match="not a regular file"):
            VideoReader(path)


def test_frames_larger_than_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 48 * 64 - 1)
    with pytest.raises(VideoError, match=r"v\.mp4: frames of 64×48 pixels, more than 3071"):
        VideoReader(write_video(tmp_path / "v.mp4", 3))


def test_whatever_pyav_raises_names_the_file(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", 3)

    def fail(self, packet):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    with VideoReader(path) as reader:
        monkeypatch.setattr(VideoReader, "_decode", fail)
        with pytest.raises(VideoError, match=r"v\.mp4: not a readable video \(.*invalid start"):
            reader.read([0])


def test_nothing_decodes(tmp_path):
    path = write_video(tmp_path / "v.avi", 3, "mpeg4", bf=2)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\0\0\1", b"\0\0\0"))
    with pytest.raises(VideoError, match=r"v\.avi"), VideoReader(path) as reader:
        reader.read([0])


def test_index_times():
    index = FrameIndex(np.array([7, 10, 16]), Fraction(1001, 3000), *[np.empty(0, int)] * 2, False)
    assert index.timestamps.tolist() == [0, 3 * 1001 / 3000, 9 * 1001 / 3000]
    assert len(index) == 3


def clips(shared: Path) -> list[Path]:
    suffixes = {".avi", ".mp4", ".mkv", ".webm"}
    return sorted(p for p in (shared / "data/videos").rglob("*") if p.suffix in suffixes)


def test_real_videos_are_exact_near_their_start(shared):
    paths = clips(shared)
    assert paths
    for path in paths:
        with av.open(str(path)) as container:
            frames = container.decode(video=0)
            reference = [frame for frame, _ in zip(frames, range(14), strict=False)]
            wanted = [13, 2, 9]
            with VideoReader(path) as reader:
                read = reader.read(wanted).numpy()
            for number, frame in zip(wanted, read, strict=True):
                expected = reference[number].to_ndarray(format="rgb24")
                assert np.array_equal(frame, expected), path


@pytest.mark.slow
def test_real_videos_are_exact(shared):
    rng = random.Random(0)
    for path in clips(shared):
        reference = decode_all(path)
        count = len(reference)
        clip = [min(count - 1, count // 2 + 4 * i) for i in range(16)]
        anything = [rng.randrange(count) for _ in range(8)]
        assert_exact(path, reference, [clip, anything, [0], [count - 1]])
