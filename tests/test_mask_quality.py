"""The program end to end, on a few clips drawn for it."""

import pytest
from hydra.errors import HydraException

from devias.mask_quality import load_extractor, main
from devias.pseudo.fame import FAME
from devias.pseudo.motion_em import MotionEM


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
