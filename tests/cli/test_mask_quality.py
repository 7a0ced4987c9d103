"""The program end to end, on a few clips drawn for it."""

import numpy as np
import pytest
from hydra.errors import HydraException

from devias.cli.masks import load_extractor, main
from devias.masks.fame import FAME
from devias.masks.motion_em import MotionEM
from helpers import write_frames


@pytest.fixture
def small_benchmark(tmp_path, monkeypatch):
    """Draws little and into a folder of the test."""
    monkeypatch.setenv("DEVIAS_DATASETS", str(tmp_path / "data"))
    counts = "{train:0,val_seen:0,val_unseen:16,test_seen:0,test_unseen:0,scene_only:0}"
    return ["--set", f"+data.settings.clips={counts}"]


def test_it_compares_and_writes_a_table_and_a_figure(tmp_path, small_benchmark, capsys):
    qualities = main(
        ["fame", "fame:beta=0.3", "motion_em", "--output", str(tmp_path / "out"), *small_benchmark]
    )
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.strip() in capsys.readouterr().out
    assert [line.split(" | ")[0] for line in table.splitlines()[2:5]] == [
        "| fame", "| fame:beta=0.3", "| motion_em",
    ]  # fmt: skip
    assert (tmp_path / "out" / "masks.png").stat().st_size > 10_000
    assert qualities["fame"].share == pytest.approx(0.5, abs=0.01)
    assert qualities["fame:beta=0.3"].share == pytest.approx(0.3, abs=0.01)
    assert qualities["motion_em"].frame["iou"] > 2 * qualities["fame"].frame["iou"]


def test_videos_without_truth_are_drawn(tmp_path, capsys):
    frames = [np.full((48, 64, 3), 100, np.uint8) for _ in range(16)]
    for step, frame in enumerate(frames):
        frame[10:30, 2 * step : 2 * step + 12] = 250
    (tmp_path / "videos" / "one").mkdir(parents=True)
    write_frames(tmp_path / "videos" / "one" / "a.mp4", frames)
    (tmp_path / "videos" / "notes.txt").write_text("no video")
    qualities = main(
        [
            "motion_em",
            "ground_truth",
            "--videos",
            str(tmp_path / "videos"),
            "--output",
            str(tmp_path),
        ]
    )
    assert list(qualities) == ["motion_em"]
    assert qualities["motion_em"].frame == {}
    masks = qualities["motion_em"].frame_masks[0] > 0.5
    assert masks[:, 10:30].sum() / masks.sum() > 0.7  # 48 × 64 pixels, cropped to 48 × 48
    assert (tmp_path / "masks.png").stat().st_size > 2_000
    assert not (tmp_path / "table.md").exists()
    assert capsys.readouterr().out == ""
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no video below .*empty"):
        main(["motion_em", "--videos", str(tmp_path / "empty")])


def test_extractors_by_name_and_settings():
    assert isinstance(load_extractor("motion_em", "synthetic"), MotionEM)
    fame = load_extractor("fame:beta=0.3,crop_size=48", "synthetic")
    assert isinstance(fame, FAME)
    assert (fame.beta, fame.kernel_size) == (0.3, 5)
    assert load_extractor("none", "synthetic") is None
    with pytest.raises(HydraException, match="betta"):
        load_extractor("fame:betta=0.3", "synthetic")


def test_no_clips_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--clips", "0"])
    assert "--clips must be at least 1" in capsys.readouterr().err
