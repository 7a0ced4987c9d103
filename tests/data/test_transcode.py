import os

import av
import numpy as np
import pytest

from devias.data import transcode as module
from devias.data.readers import VideoError, open_frames
from devias.data.transcode import Coding, TranscodeError, milliseconds_per_clip, transcode
from devias.data.transcode import transcode_folder as transcode_lazily
from devias.errors import ConfigError
from media import read_number, write_video

FAST = Coding(short_side=32, preset="ultrafast", key_interval=5)


def transcode_folder(*args):
    return list(transcode_lazily(*args))


def key_frames(path):
    with av.open(str(path)) as container:
        return [frame.key_frame for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("size", "expected"), [((48, 65), (32, 42)), ((71, 48), (46, 32)), ((25, 31), (24, 30))]
)
def test_every_frame_is_kept_smaller_and_upright(tmp_path, size, expected):
    source = write_video(tmp_path / "a.avi", 13, "libx264rgb", pix_fmt="rgb24", size=size, qp=0)
    assert transcode(source, tmp_path / "out/a.mp4", FAST) == 13
    with open_frames(tmp_path / "out/a.mp4") as copy:
        frames = copy.read(range(13)).numpy()
    assert frames.shape[1:3] == expected
    assert [read_number(frame) for frame in frames] == list(range(13))
    assert key_frames(tmp_path / "out/a.mp4") == [number % 5 == 0 for number in range(13)]


def test_frames_keep_their_times(tmp_path):
    ticks = [0, 1, 2, 7, 8, 20, 21]
    source = write_video(tmp_path / "a.mkv", 7, rate=30, ticks=ticks)
    transcode(source, tmp_path / "b.mp4", FAST)
    with open_frames(tmp_path / "b.mp4") as copy:
        np.testing.assert_allclose(copy.timestamps, np.array(ticks) / 30, atol=1e-3)


def test_long_videos_are_done_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_CHUNK", 4 * 48 * 64 * 3)
    source = write_video(tmp_path / "a.mp4", 11)
    assert transcode(source, tmp_path / "b.mp4", FAST) == 11
    with open_frames(tmp_path / "b.mp4") as copy:
        assert [read_number(f) for f in copy.read(range(11)).numpy()] == list(range(11))


@pytest.mark.parametrize("fault", ["lost", "swapped", "moved"])
def test_a_copy_that_differs_is_not_left(tmp_path, monkeypatch, fault):
    source, encode = write_video(tmp_path / "a.mp4", 11), module._encode

    def encode_wrongly(reader, path, coding):
        class Wrong:
            num_frames = 10 if fault == "lost" else 11
            timestamps = reader.timestamps[:num_frames] * (2 if fault == "moved" else 1)

            def read(self, numbers):
                swapped = {3: 4, 4: 3} if fault == "swapped" else {}
                return reader.read([swapped.get(number, number) for number in numbers])

        squares = encode(reader, path, coding)
        encode(Wrong(), path, coding)
        return squares

    monkeypatch.setattr(module, "_encode", encode_wrongly)
    said = {"lost": "has 11 frames, its copy 10", "swapped": "frame [34] of", "moved": "times"}
    with pytest.raises(TranscodeError, match=said[fault]):
        transcode(source, tmp_path / "b.mp4", FAST)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_folders_are_copied_once_and_faults_are_told(tmp_path):
    videos, output = tmp_path / "videos", tmp_path / "copies"
    (videos / "run").mkdir(parents=True)
    good = write_video(videos / "run/a.b.avi", 6, "mpeg4")
    (videos / "bad.mkv").write_text("no video")
    job = (videos, output, [videos / "bad.mkv", good], FAST)
    bad, first = transcode_folder(*job)
    assert "bad.mkv: not a readable video" in bad.error
    assert not bad.target.exists()
    assert (first.made, first.num_frames, first.target) == (True, 6, output / "run/a.b.mp4")
    assert first.bytes_after == first.target.stat().st_size
    _, again = transcode_folder(*job)
    assert (again.made, again.bytes_before) == (False, good.stat().st_size)
    newer = first.target.stat().st_mtime + 5
    os.utime(good, (newer, newer))
    assert transcode_folder(*job)[1].made


def test_folders_that_do_not_fit_are_refused(tmp_path):
    paths = [tmp_path / "v/a.avi", tmp_path / "v/a.mp4"]
    for output in (tmp_path / "v/out", tmp_path / "v", tmp_path):
        with pytest.raises(ConfigError, match="overlap"):
            transcode_folder(tmp_path / "v", output, [], FAST)
    with pytest.raises(ConfigError, match=r"a\.avi and .*a\.mp4 would both become .*a\.mp4"):
        transcode_folder(tmp_path / "v", tmp_path / "out", paths, FAST)
    transcode_folder(tmp_path / "v", tmp_path / "out", [], FAST)
    with pytest.raises(ConfigError, match=r"transcode\.json: copies of another coding"):
        transcode_folder(tmp_path / "v", tmp_path / "out", [], Coding())


@pytest.mark.parametrize("wrong", [{"short_side": 1}, {"key_interval": 0}, {"quality": 52}])
def test_a_coding_out_of_range_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name}=.*must be"):
        Coding(**wrong)


def test_a_clip_is_timed_where_there_is_one(tmp_path):
    paths = [write_video(tmp_path / "a.mp4", 5), tmp_path / "gone.mp4"]
    assert milliseconds_per_clip(paths) > 0
    assert np.isnan(milliseconds_per_clip(paths[1:]))


def test_an_unreadable_source_leaves_nothing(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"a\.mp4"):
        transcode(tmp_path / "a.mp4", tmp_path / "out/b.mp4", FAST)
    assert not (tmp_path / "out/b.mp4").exists()
