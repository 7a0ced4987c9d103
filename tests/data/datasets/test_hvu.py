from collections import Counter
from pathlib import Path

import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st

from devias.config.compose import compose
from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.datasets import hvu
from devias.data.datasets.hvu import HVU, read_released_list, read_tag_list, read_tags
from devias.structures import UNKNOWN

TAGS = "Tag,Category\nrunning,action\nsky,scene\nball,object\nboxing,action\nforest,scene\n"
HEADER = "Tags,youtube_id,time_start,time_end\n"
VIDEOS = Path("videos")


def write(folder: Path, text: str, name: str = "list.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def make_data(root: Path) -> HVU:
    return HVU(str(root), num_actions=2, num_scenes=2)


def test_labels_follow_the_order_of_the_tag_file(tmp_path):
    tags = read_tags(write(tmp_path, TAGS.replace("\n", "\r\n")))
    assert tags == {
        "action": {"running": 0, "boxing": 1},
        "scene": {"sky": 0, "forest": 1},
        "object": {"ball": 0},
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Tag,Category\nsky,scene\nsky,scene\n", "line 3: 'sky' is already of the category scene"),
        ("Tag,Category\nsky,scene\n,scene\n", "line 3: expected '<tag>,<category>'"),
        ("Tag,Category\nsky,scene\n", "no tag is of the category action"),
        ("Tag,Kind\nsky,scene\n", "line 1: the header lacks Category"),
    ],
)
def test_tag_file_errors(tmp_path, text, why):
    with pytest.raises(AnnotationError, match=why):
        read_tags(write(tmp_path, text))


def test_official_list_keeps_videos_of_one_action_and_one_scene(tmp_path):
    rows = [
        "ball|boxing|sky,-a,9.0,11.0",
        "boxing|running|sky,b,0.0,10.0",
        "boxing|ball,c,0.0,10.0",
        '"forest|running",d,48.5,50.5',
    ]
    path = write(tmp_path, HEADER + "\n".join(rows))
    tags = read_tags(write(tmp_path, TAGS, "tags.csv"))
    first, last = read_tag_list(path, VIDEOS, tags)
    assert (first.path, first.action, first.scene) == (VIDEOS / "-a_9_11.mp4", 1, 0)
    assert (last.path, last.action, last.scene) == (VIDEOS / "d_48.5_50.5.mp4", 0, 1)
    assert (last.start, last.source) == (None, f"{path}:5")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("boxing|cloud,b,0.0,10.0", "there is no tag 'cloud'"),
        (",b,0.0,10.0", "there is no tag ''"),
        ("boxing|sky,../b,0.0,10.0", "'../b' is not a YouTube id"),
        ("boxing|sky,b,nan,10.0", "'nan' is not a number of seconds"),
        ("boxing|sky,b,0.0", "3 fields, but the header has 4"),
        ("boxing|sky,a,0,10", r"the same video as in .*list\.csv:2"),
    ],
)
def test_official_list_errors_name_file_and_line(tmp_path, row, why):
    path = write(tmp_path, f"{HEADER}boxing|sky,a,0.0,10.0\n{row}\n")
    tags = read_tags(write(tmp_path, TAGS, "tags.csv"))
    with pytest.raises(AnnotationError, match=rf"list\.csv, line 3: .*{why}"):
        read_tag_list(path, VIDEOS, tags)


def test_official_list_without_a_usable_video(tmp_path):
    path = write(tmp_path, f"{HEADER}boxing,a,0.0,10.0\n")
    with pytest.raises(AnnotationError, match="no video has exactly one action and one scene"):
        read_tag_list(path, VIDEOS, read_tags(write(tmp_path, TAGS, "tags.csv")))


@given(st.integers(0, 999_999), st.integers(0, 999))
def test_seconds_are_written_without_needless_zeros(whole, thousandths):
    text = hvu._seconds(f"{whole}.{thousandths:03d}")
    assert round(float(text) * 1000) == whole * 1000 + thousandths
    assert text == (text.rstrip("0") if thousandths else str(whole))


def test_official_seen_and_unseen_pairs_are_told_by_training_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(hvu, "SEEN_FROM", 3)
    monkeypatch.setattr(hvu, "UNSEEN_TO", 1)
    pairs = Counter({"running|sky": 3, "running|forest": 2, "boxing|sky": 1})
    rows = [f"{pair},v{n},0.0,10.0" for n, pair in enumerate(pairs.elements())]
    write(tmp_path, HEADER + "\n".join(rows), "annotations/HVU_Train_V1.0.csv")
    every = ["running|sky", "running|forest", "boxing|sky", "boxing|forest"]
    rows = [f"{pair},w{n},0.0,10.0" for n, pair in enumerate(every)]
    write(tmp_path, HEADER + "\n".join(rows), "annotations/HVU_Val_V1.0.csv")
    write(tmp_path, TAGS, "annotations/HVU_Tags_Categories_V1.0.csv")
    data = make_data(tmp_path)
    names = {split: [r.path.stem[:2] for r in data.read_split(split)] for split in data.splits}
    assert names == {
        "train": ["v0", "v1", "v2", "v3", "v4", "v5"],
        "seen": ["w0"],
        "unseen": ["w2", "w3"],
    }
    assert (data.action_names, data.scene_names) == (["running", "boxing"], ["sky", "forest"])
    monkeypatch.setattr(hvu, "SEEN_FROM", 4)
    with pytest.raises(AnnotationError, match=r"Val_V1\.0\.csv: no video is of a pair with 4 to 6"):
        data.read_split("seen")


def test_released_lists(tmp_path):
    path = write(tmp_path, "E4e6yAWU3lA_0_10 1 0\n-a_48.5_50.5,0,1\r\n", "annotations/train.csv")
    first, last = read_released_list(path, VIDEOS)
    assert (first.path, first.action, first.scene) == (VIDEOS / "E4e6yAWU3lA_0_10.mp4", 1, 0)
    assert (last.path.name, last.action, last.scene) == ("-a_48.5_50.5.mp4", 0, 1)
    assert last.source == f"{path}:2"
    data = make_data(tmp_path)
    assert (data.action_names[1], data.scene_names[1]) == ("action 1", "scene 1")
    write(tmp_path, TAGS, "annotations/HVU_Tags_Categories_V1.0.csv")
    assert (data.action_names[1], data.scene_names[1]) == ("boxing", "forest")
    with pytest.raises(MissingDataError, match=r"val_seen\.csv does not exist\.\n.*HVU-Dataset"):
        data.records("seen")


def test_folders_of_stills_take_the_place_of_videos(tmp_path):
    write(tmp_path, "-a_48.5_50.5 0 1\n", "annotations/train.csv")
    write(tmp_path, "", "videos/-a_48.5_50.5/000001.jpg")
    (record,) = HVU(str(tmp_path), num_actions=2, num_scenes=2, suffix="").records("train")
    assert record.path == tmp_path / "videos" / "-a_48.5_50.5"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("b_0_10 1", "expected '<video> <action> <scene>'"),
        ("b_0_10 x 1", "'x' is not a class number"),
        ("../b_0_10 1 1", "expected a path below the folder"),
        ("a_0_10 1 1", r"the same video as in .*list\.csv:1"),
    ],
)
def test_released_list_errors_name_file_and_line(tmp_path, row, why):
    path = write(tmp_path, f"a_0_10 1 1\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"list\.csv, line 2: .*{why}"):
        read_released_list(path, VIDEOS)


def test_the_real_released_lists(shared):
    folder = shared / "data" / "annotations" / "devias_filelists" / "hvu"
    train, seen, unseen = (
        read_released_list(folder / f"{name}.csv", VIDEOS)
        for name in ("train", "val_seen", "val_unseen")
    )
    assert (len(train), len(seen), len(unseen)) == (27_532, 200, 229)
    assert (train[0].path.name, train[0].action, train[0].scene) == ("E4e6yAWU3lA_0_10.mp4", 38, 12)
    assert all(0 <= record.action < 739 and 0 <= record.scene < 248 for record in train)
    assert UNKNOWN not in {record.scene for record in seen + unseen}
    counts = Counter((record.action, record.scene) for record in train)
    assert min(counts[r.action, r.scene] for r in seen) == hvu.SEEN_FROM
    often = [counts[r.action, r.scene] for r in unseen]
    assert (max(often), often.count(0)) == (hvu.UNSEEN_TO, 52)


def test_configuration():
    config = compose("data=hvu", "protocol=hvu", "recipe=hvu")
    protocol, data = instantiate(config.protocol), instantiate(config.data, batch_size=1)
    assert protocol.headline == ("action_top1", "scene_top1")
    assert {s.split for s in (*protocol.sets, *protocol.validation)} < set(data.splits)
    assert (data.num_actions, data.num_scenes) == (739, 248)
