"""`devias transcode`: what it prints and how it ends."""

import csv

import pytest

from devias.cli.transcode import main
from devias.data.readers import open_frames
from media import write_video


def test_a_folder_is_copied_and_compared(tmp_path, capsys):
    (tmp_path / "videos/run").mkdir(parents=True)
    write_video(tmp_path / "videos/run/a.avi", 9, "mpeg4")
    words = [f"videos={tmp_path / 'videos'}", f"output={tmp_path / 'copies'}", "num_workers=0"]
    main([*words, "coding.short_side=32"])
    printed = capsys.readouterr().out
    assert "1 copied, 0 were there, 0 failed" in printed
    assert "mean of 1 videos" in printed
    with open_frames(tmp_path / "copies/run/a.mp4") as copy:
        assert copy.read([8]).shape == (1, 32, 42, 3)
    (tmp_path / "videos/bad.mp4").write_text("no video")
    with pytest.raises(SystemExit) as ended:
        main([*words, "coding.short_side=32"])
    assert ended.value.code == 1
    assert "0 copied, 1 were there, 1 failed" in capsys.readouterr().out
    with (tmp_path / "copies/transcode.csv").open() as file:
        rows = {row["video"]: row["error"] for row in csv.DictReader(file)}
    assert rows["run/a.avi"] == ""
    assert "not a readable video" in rows["bad.mp4"]
