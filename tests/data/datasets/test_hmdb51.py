from pathlib import Path

import pytest
from hydra.utils import instantiate

from devias.config.compose import compose
from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.datasets.hmdb51 import HMDB51
from devias.data.numbered_splits import read_released_list
from devias.errors import ConfigError
from helpers import write_text

VIDEOS = Path("videos")
LISTS = "testTrainMulti_7030_splits"


def make_data(root: Path, **given) -> HMDB51:
    return HMDB51(str(root), num_actions=2, num_scenes=3, **given)


def write_official(root: Path) -> None:
    """Two classes, given in the order in which they aren't, of two splits."""
    write_text(root / LISTS / "wave_test_split1.txt", "x(!&_1.avi 2 \ny_1.avi 1 \n")
    write_text(root / LISTS / "brush_hair_test_split1.txt", "a_1.avi 1 \nb_1.avi 0 \nc_1.avi 2 \n")
    write_text(root / LISTS / "brush_hair_test_split2.txt", "a_1.avi 2 \nb_1.avi 1 \n")
    for name in ("wave/x(!&_1", "wave/y_1", "brush_hair/a_1", "brush_hair/b_1", "brush_hair/c_1"):
        write_text(root / "hmdb51_org" / f"{name}.avi")


def names(data: HMDB51, split: str) -> list[tuple[str, int]]:
    return [(r.path.relative_to(data.videos).as_posix(), r.action) for r in data.records(split)]


def test_official_files_of_each_split(tmp_path):
    write_official(tmp_path)
    data = make_data(tmp_path)
    assert data.action_names == ["brush_hair", "wave"]
    assert names(data, "train") == [("brush_hair/a_1.avi", 0), ("wave/y_1.avi", 1)]
    test = [("brush_hair/c_1.avi", 0), ("wave/x(!&_1.avi", 1)]
    assert names(data, "val") == names(data, "test") == test
    first = data.records("test")[0]
    assert first.source == f"{data.annotations}/brush_hair_test_split1.txt:3"
    assert names(make_data(tmp_path, split=2), "test") == [("brush_hair/a_1.avi", 0)]
    with pytest.raises(ConfigError, match=r"splits 1, 2 and 3, not data\.split=4"):
        make_data(tmp_path, split=4)


def test_folders_of_stills_take_the_place_of_videos(tmp_path):
    write_official(tmp_path)
    (tmp_path / "hmdb51_org/wave/y_1").mkdir()
    data = make_data(tmp_path, suffix="")
    assert names(data, "train") == [("brush_hair/a_1", 0), ("wave/y_1", 1)]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("b.avi 3", "expected 0, 1 or 2 behind the video, got '3'"),
        ("b.avi", "expected '<video>.avi <use>'"),
        ("../b.avi 1", "expected a path below the folder"),
        ("a.avi 2", r"the same video as in .*wave_test_split1\.txt:1"),
    ],
)
def test_errors_name_file_and_line(tmp_path, row, why):
    write_text(tmp_path / LISTS / "wave_test_split1.txt", f"a.avi 1\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"wave_test_split1\.txt, line 2: .*{why}"):
        make_data(tmp_path).read_split("train")


def test_released_lists(tmp_path):
    write_text(tmp_path / LISTS / "train1.csv", "wave/y_1.avi 1\nbrush_hair/a_1.avi 0\n")
    write_text(tmp_path / LISTS / "test1.csv", "wave/x(!&_1.avi 1\n")
    write_text(tmp_path / "hmdb51_org/wave/x(!&_1.avi")
    data = make_data(tmp_path)
    assert data.action_names == ["brush_hair", "wave"]
    assert names(data, "test") == [("wave/x(!&_1.avi", 1)]
    with pytest.raises(MissingDataError, match=r"split2\.txt does not exist\.\n.*hmdb51_org\.rar"):
        make_data(tmp_path, split=2).read_split("train")


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_real_official_files(shared, split):
    annotations = shared / "data" / "annotations" / "hmdb51"
    data = HMDB51("", annotations=str(annotations), split=split, num_actions=51, num_scenes=3)
    train, test = data.read_split("train"), data.read_split("test")
    assert (len(train), len(test)) == (3570, 1530)
    assert {record.action for record in train} == {record.action for record in test}
    assert not {record.path for record in train} & {record.path for record in test}
    assert data.action_names == [
        name.strip() for name in (annotations / "label_map.txt").read_text().split()
    ]


def test_released_lists_equal_the_official_split_1(shared):
    annotations = shared / "data" / "annotations"
    data = HMDB51("", annotations=str(annotations / "hmdb51"), num_actions=51, num_scenes=3)
    for kind in ("train", "test"):
        path = annotations / "devias_filelists" / "hmdb51" / f"{kind}1.csv"
        ours, theirs = read_released_list(path, data.videos), data.read_split(kind)
        assert {(r.path, r.action) for r in ours} == {(r.path, r.action) for r in theirs}


def test_configuration():
    config = compose("data=hmdb51", "protocol=hmdb51", "recipe=downstream")
    protocol, data = instantiate(config.protocol), instantiate(config.data, batch_size=1)
    assert protocol.headline == ("action_top1", "scene_top5")
    assert {s.split for s in (*protocol.sets, *protocol.validation)} < set(data.splits)
    assert (data.num_actions, data.num_scenes, data.split) == (51, 365, 1)
