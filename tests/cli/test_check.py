"""`devias check`: what it tells of a dataset and how it ends."""

import csv
import shutil

import pytest

import lookalikes
from devias.cli.check import check, main
from devias.config import compose
from media import write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two classes of two recordings each; and one of each fault."""
    root = tmp_path_factory.mktemp("own")
    for name, length in {
        "jump/a_1": 9,
        "jump/b_1": 10,
        "run/c_1": 11,
        "run/d_1": 12,
        "run/f_1": 13,
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        write_video(root / f"{name}.mp4", length)
    shutil.copy(root / "run/c_1.mp4", root / "jump/e_1.mp4")
    (root / "jump/text_1.mp4").write_text("no video")
    rows = ["path,action,scene,split"]
    rows += [f"{name}.mp4,{action},{scene},{split}" for name, action, scene, split in (
        ("jump/a_1", "jump", "field", "train"), ("jump/e_1", "jump", "hall", "train"),
        ("run/c_1", "run", "field", "train"), ("jump/b_1", "run", "hall", "test"),
        ("jump/text_1", "jump", "field", "test"), ("jump/gone_1", "jump", "hall", "test"),
        ("run/d_1", "run", "field", "val"),
    )]  # fmt: skip
    (root / "videos.csv").write_text("\n".join(rows))
    return root


def words(videos, tmp_path, *others):
    return [
        "data=folder", f"data.root={videos}", "data.clip_length=5", "data.stride=2",
        "data.num_workers=0", f"output={tmp_path / 'out'}", *others,
    ]  # fmt: skip


def test_all_that_is_wrong_is_listed(videos, tmp_path, capsys):
    config = compose(*words(videos, tmp_path), config_name="check")
    problems = check(config)
    assert {(p.kind, p.video.removeprefix(f"{videos}/")) for p in problems} == {
        ("label", "jump/b_1.mp4"),  # the list calls it a run
        ("label", "run/c_1.mp4"),  # the same bytes as jump/e_1
        ("missing", "jump/gone_1.mp4"),
        ("unlisted", "run/f_1.mp4"),
        ("unreadable", "jump/text_1.mp4"),
    }
    with (tmp_path / "out/problems.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5
    with (tmp_path / "out/classes.csv").open() as file:
        assert list(csv.DictReader(file)) == [
            {"class": "jump", "train": "2", "val": "0", "test": "2"},
            {"class": "run", "train": "1", "val": "1", "test": "1"},
        ]
    with (tmp_path / "out/pairs.csv").open() as file:
        pairs = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert pairs == [
        {"split": "test", "action": "jump", "scene": "field", "videos": "1", "in_training": "1"},
        {"split": "test", "action": "jump", "scene": "hall", "videos": "1", "in_training": "1"},
        {"split": "test", "action": "run", "scene": "hall", "videos": "1", "in_training": "0"},
    ]
    printed = capsys.readouterr().out
    assert "unreadable: 1" in printed
    assert "videos.csv:6" in printed


def test_the_exit_code_tells_whether_there_is_a_problem(videos, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(words(videos, tmp_path))
    assert ended.value.code == 1
    main(words(videos, tmp_path, "allow=[label,missing,unlisted,unreadable]"))


def test_a_sound_dataset_has_no_problem(tmp_path, capsys):
    for name, length in {"jump/a": 9, "jump/b": 10, "run/c": 11, "run/d": 12}.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / f"own/{name}.mp4", length)
    main(words(tmp_path / "own", tmp_path, "every_frame=true"))
    printed = capsys.readouterr().out
    assert "No problem" in printed
    assert "pairs are not audited" in printed
    assert (tmp_path / "out/problems.csv").read_text() == "kind,split,video,source,detail\n"


def test_evaluation_data_of_the_protocol_are_opened_as_well(tmp_path, capsys):
    lookalikes.ucf101(tmp_path / "ucf101")
    lookalikes.scuba(tmp_path / "scuba")
    broken = next((tmp_path / "scuba/ucf101-places").iterdir())
    (broken / "frame000009.jpg").write_bytes(b"no picture")
    problems = check(
        compose(
            "data=ucf101", "protocol=ucf101_ablation", f"paths.datasets={tmp_path}",
            "data.num_actions=2", "data.clip_length=4", "data.stride=1", "data.num_workers=0",
            f"output={tmp_path / 'out'}", config_name="check",
        )
    )  # fmt: skip
    unreadable = [(p.split, p.video) for p in problems if p.kind == "unreadable"]
    assert unreadable == [("ucf101-places", str(broken))]
    printed = capsys.readouterr().out
    assert f"hat: {tmp_path}/hat" in printed
    assert (tmp_path / "out/scuba/problems.csv").exists()
