import numpy as np

from devias.data.check.files import VideoState, equal_files, inspect_videos
from devias.data.links import real_folders
from devias.data.records import VideoRecord
from media import numbered_frame, write_video


def test_each_fault_is_found(tmp_path):
    good = write_video(tmp_path / "good.mp4", 12)
    (tmp_path / "text.mp4").write_text("no video")
    records = [
        VideoRecord(good),
        VideoRecord(tmp_path / "text.mp4"),
        VideoRecord(tmp_path / "gone.mp4"),
        VideoRecord(write_video(tmp_path / "short.mp4", 8)),
        VideoRecord(good, start=0.1, end=0.3),  # five frames at 25 a second
        VideoRecord(good, start=7, end=8),
    ]
    states = list(inspect_videos(records, span=9))
    assert [state.fault for state in states] == [
        None, "unreadable", "missing", "short", "short", "unreadable",
    ]  # fmt: skip
    assert [state.num_frames for state in states] == [12, 0, 0, 8, 5, 0]
    assert states[0] == VideoState(12)
    assert "8 frames, fewer than the 9 of a clip" in states[3].detail
    assert str(tmp_path) not in states[1].detail


def test_links_out_of_the_folder_are_told(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "elsewhere.mp4", 3)
    link = tmp_path / "videos/a.mp4"
    link.symlink_to(tmp_path / "elsewhere.mp4")
    record = VideoRecord(link, source="list.txt:3")
    (state,) = inspect_videos([record], span=1, within=real_folders([tmp_path / "videos"]))
    assert state.fault == "outside"
    assert state.detail.startswith(f"{link} leads out of")
    (state,) = inspect_videos([record], span=1)
    assert state.fault is None


def test_damage_in_the_middle_is_found_where_all_frames_are_decoded(tmp_path):
    from PIL import Image

    for number in range(1, 6):
        Image.fromarray(numbered_frame(number, 8, 8)).save(tmp_path / f"{number:03}.png")
    (tmp_path / "003.png").write_bytes(b"\x89PNG\r\n cut")
    records = [VideoRecord(tmp_path)]
    assert [state.fault for state in inspect_videos(records, span=1)] == [None]
    (state,) = inspect_videos(records, span=1, every_frame=True)
    assert state.fault == "unreadable"
    assert "003.png" in state.detail


def test_equal_bytes_are_found_under_any_name(tmp_path):
    contents = {
        "a.avi": b"one",
        "b.avi": b"two",
        "c.avi": b"one",
        "d.avi": b"seven",
        "e.avi": b"one",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for folder in ("x", "y", "z"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(b"still")
        (tmp_path / folder / "2.jpg").write_bytes(b"other" if folder == "y" else b"still")
    paths = [tmp_path / name for name in (*contents, "x", "y", "z", "gone.avi", "a.avi")]
    names = [[path.name for path in group] for group in equal_files(paths)]
    assert names == [["a.avi", "c.avi", "e.avi"], ["x", "z"]]


def test_no_file_equals_none(tmp_path):
    assert equal_files([]) == equal_files([tmp_path / "gone"]) == []
    assert np.size(list(inspect_videos([], span=1))) == 0
