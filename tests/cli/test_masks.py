"""The program end to end, on a few clips drawn for it."""

import numpy as np
import pytest
from omegaconf import OmegaConf

from devias.cli.masks import compare, load_extractor, names_as_override
from devias.config.compose import compose_plain, register_resolvers
from devias.errors import ConfigError
from devias.mask_quality import as_overrides
from devias.masks.fame import FAME
from devias.masks.motion_em import MotionEM
from helpers import write_frames

CLIPS = "{train:0,val_seen:0,val_unseen:16,test_seen:0,test_unseen:0,scene_only:0}"


def run(*words):
    register_resolvers()
    overrides = names_as_override(words)
    return compare(compose_plain("mask_quality", overrides), overrides)


def test_it_compares_and_writes_a_table_and_a_figure(tmp_path, capsys):
    qualities = run(
        "fame",
        "fame:beta=0.3",
        "motion_em",
        f"output={tmp_path / 'out'}",
        f"paths.datasets={tmp_path / 'data'}",
        f"+data.settings.clips={CLIPS}",
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
    places = f"videos={tmp_path / 'videos'}", f"output={tmp_path}"
    qualities = run("motion_em", "ground_truth", *places)
    assert list(qualities) == ["motion_em"]
    assert qualities["motion_em"].frame == {}
    masks = qualities["motion_em"].frame_masks[0] > 0.5
    assert masks[:, 10:30].sum() / masks.sum() > 0.7  # 48 × 64 pixels, cropped to 48 × 48
    assert (tmp_path / "masks.png").stat().st_size > 2_000
    assert not (tmp_path / "table.md").exists()
    assert capsys.readouterr().out == ""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"there is no video below .*empty"):
        run("motion_em", f"videos={tmp_path / 'empty'}")


def test_extractors_by_name_and_settings():
    register_resolvers()
    assert isinstance(load_extractor("motion_em"), MotionEM)
    fame = load_extractor("fame:beta=0.3,crop_size=48", ["backbone.tubelet_size=4"])
    assert isinstance(fame, FAME)
    assert (fame.beta, fame.kernel_size, fame.tubelet_size) == (0.3, 5, 4)
    assert load_extractor("none") is None
    with pytest.raises(ConfigError, match=r"masks\.betta; did you mean masks\.beta"):
        load_extractor("fame:betta=0.3")
    with pytest.raises(ConfigError, match="masks has no option fam; did you mean fame"):
        load_extractor("fam")


def test_no_clips_are_refused():
    with pytest.raises(ConfigError, match="clips must be at least 1, not 0"):
        run("clips=0")


def test_the_options_of_the_earlier_program_are_understood():
    words = (
        "fame fame:beta=0.3 --split test_seen --clips 3 --output o --set data.image_size=64 +x=1"
    )
    overrides = names_as_override(as_overrides(words.split()))
    assert overrides == [
        "split=test_seen", "clips=3", "output=o", "data.image_size=64", "+x=1",
        'extractors=["fame","fame:beta=0.3"]',
    ]  # fmt: skip
    register_resolvers()
    config = compose_plain("mask_quality", overrides)
    assert OmegaConf.to_container(config.extractors) == ["fame", "fame:beta=0.3"]
    assert as_overrides([]) == []
