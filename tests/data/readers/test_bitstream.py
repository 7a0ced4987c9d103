"""What the bits of packets say of the pictures in them."""

from contextlib import suppress

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.data.readers.bitstream import Picture, inspector
from media import NOT_CODED, hide_pictures, remux, write_field_pairs, write_video


def packets_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        inspect = inspector(codec.codec.canonical_name, codec.codec.intra_only, codec.extradata)
        packets = [packet for packet in container.demux(stream) if packet.size]
        return inspect, [(packet.pts, packet.is_keyframe, bytes(packet)) for packet in packets]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("v.mp4", "libx264", {"g": 8, "bf": 2}),
        ("v.ts", "libx264", {"g": 8, "bf": 2}),
        ("v.ts", "libx264", {"x264_params": "open-gop=1:keyint=8:min-keyint=8:bframes=3"}),
        ("v.mp4", "libx264", {"g": 8, "bf": 0, "profile": "baseline", "pix_fmt": "yuv420p"}),
        ("v.mkv", "libx264", {"g": 8, "bf": 2, "pix_fmt": "yuv444p"}),
        ("v.mkv", "libx265", {"g": 8, "bf": 2, "x265_params": "log-level=none"}),
        ("v.ts", "libx265", {"g": 8, "bf": 2, "x265_params": "log-level=none"}),
        ("v.avi", "mpeg4", {"g": 8, "size": (96, 128)}),
        ("v.mp4", "mpeg4", {"g": 8, "bf": 2, "size": (96, 128)}),
        ("v.webm", "libvpx", {"g": 8}),
        ("v.webm", "libvpx-vp9", {"g": 8, "deadline": "realtime"}),
        ("v.mkv", "libsvtav1", {"g": 8, "preset": 12}),
        ("v.avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
    ],
)
def test_honest_packets_say_what_their_container_says(tmp_path, name, codec, options):
    inspect, packets = packets_of(write_video(tmp_path / name, 20, codec, **options))
    pictures = [inspect(data) for _, _, data in packets]
    assert [picture.starts for picture in pictures] == [key for _, key, _ in packets]
    assert all(picture.shown for picture in pictures)
    latest = [max(time for time, _, _ in packets[: i + 1]) for i in range(len(packets))]
    backward = [time < last for (time, _, _), last in zip(packets, latest, strict=True)]
    assert [picture.backward for picture in pictures] == backward
    assert any(backward) == (options.get("bf", 0) > 0 or "bframes" in str(options))


def test_hidden_pictures_are_told(tmp_path):
    plain = write_video(tmp_path / "plain.webm", 10, "libvpx", g=12)
    inspect, packets = packets_of(remux(plain, tmp_path / "v.webm", hide_pictures))
    assert [inspect(data).shown for _, _, data in packets] == [i % 5 != 4 for i in range(10)]


def test_codecs_that_prove_nothing(tmp_path):
    for codec in ("cinepak", "qtrle", "h263", "flv1", "msmpeg4v2", "mpeg2video", "gif"):
        assert inspector(codec, False, None) is None
    assert inspector("prores", True, None)(b"any") == Picture(starts=True)


def test_h264_that_may_hold_fields_proves_nothing(tmp_path):
    assert packets_of(write_field_pairs(tmp_path / "v.h264", 2))[0] is None
    interlaced = {"x264_params": "tff=1:keyint=8", "size": (64, 64)}
    assert packets_of(write_video(tmp_path / "v.mp4", 4, **interlaced))[0] is None


def test_packets_of_no_or_several_pictures_are_refused(tmp_path):
    for name, codec in (("v.mp4", "libx264"), ("v.mkv", "libx265"), ("v.avi", "mpeg4")):
        options = {"x265_params": "log-level=none"} if codec == "libx265" else {}
        inspect, packets = packets_of(write_video(tmp_path / name, 3, codec, **options))
        data = packets[0][2]
        assert inspect(data).starts
        for wrong in (data + packets[1][2], data[: len(data) // 2], bytes(len(data))):
            if codec != "mpeg4" or wrong != data[: len(data) // 2]:  # no lengths to miss
                with pytest.raises((ValueError, IndexError)):
                    inspect(wrong)
    with pytest.raises(ValueError, match="perhaps no picture"):
        inspect(NOT_CODED)


CODECS = ["h264", "hevc", "mpeg4", "vp8", "vp9", "av1", "mjpeg"]


@settings(max_examples=300, deadline=None)
@given(codec=st.sampled_from(CODECS), extradata=st.binary(max_size=40), data=st.binary(max_size=60))
def test_any_bytes_are_a_picture_or_refused(codec, extradata, data):
    inspect = inspector(codec, False, extradata)
    for start in (b"", b"\0\0\1\x67", b"\0\0\1\x06", b"\0\0\1\x65", b"\0\0\1\xb6" + bytes(20)):
        with suppress(ValueError, IndexError):
            assert inspect is None or isinstance(inspect(start + data), Picture)
