from pathlib import Path

import pytest
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.config.compose import compose
from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.datasets.kinetics400 import Kinetics400, read_official_list, read_official_names
from devias.data.path_lists import read_class_file, read_path_list

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
NAMES = ["air drumming", "archery"]
VIDEOS = Path("videos")


def write(folder: Path, text: str, name: str = "list.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def make_data(root: Path, *videos: str, **given) -> Kinetics400:
    for video in videos:
        write(root / "videos", "", video)
    return Kinetics400(str(root), **{"num_actions": 2, "num_scenes": 3, **given})


def test_official_list(tmp_path):
    rows = '"archery",-3B32lodo2M,59,69,val,0\r\nair drumming,abc,1230,1240,val,1\r\n'
    path = write(tmp_path, "\ufeff" + HEADER + rows)
    first, second = read_official_list(path, VIDEOS, NAMES)
    assert first.path == VIDEOS / "archery" / "-3B32lodo2M_000059_000069.mp4"
    assert (first.action, first.start, first.source) == (1, None, f"{path}:2")
    assert second.path == VIDEOS / "air drumming" / "abc_001230_001240.mp4"
    assert second.action == 0
    assert read_official_names(path) == NAMES


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("bowling,abc,0,10,val,0", "there is no class 'bowling'"),
        (",abc,0,10,val,0", "there is no class ''"),
        ("archery,../abc,0,10,val,0", "'../abc' is not a YouTube id"),
        ("archery,,0,10,val,0", "'' is not a YouTube id"),
        ("archery,abc,-1,10,val,0", "'-1' is not a whole number of seconds"),
        ("archery,abc,0,1234567,val,0", "'1234567' is not a whole number"),
        ("archery,abc,0,10", "4 fields, but the header has 6"),
        ('"archery,abc,0,10,val,0', "quotes that do not match"),
        ("archery,v,00,10,val,0", r"the same video as in .*list\.csv:2"),
    ],
)
def test_official_list_errors_name_file_and_line(tmp_path, row, why):
    path = write(tmp_path, f"{HEADER}archery,v,0,10,val,0\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"list\.csv, line 3: .*{why}"):
        read_official_list(path, VIDEOS, NAMES)


def test_class_folders_may_have_underscores_and_lie_below_the_split(tmp_path):
    rows = "archery,a,0,10,val,0\nair drumming,b,0,10,val,0\n"
    write(tmp_path, HEADER + rows, "annotations/val.csv")
    data = make_data(tmp_path, "air_drumming/b_000000_000010.mp4")
    paths = [record.path.relative_to(data.videos).as_posix() for record in data.records("test")]
    assert paths == ["archery/a_000000_000010.mp4", "air_drumming/b_000000_000010.mp4"]
    data = make_data(tmp_path, "val/air drumming/b_000000_000010.mp4")
    assert data.records("val")[1].path.exists()
    assert data.action_names == NAMES


@given(
    folder=st.sampled_from(["", "val/", "air_drumming/", "val/air drumming/"]),
    name=st.text("abc, (!&", min_size=1).map(str.strip).filter(lambda text: text.strip(", ")),
    separator=st.sampled_from([" ", ",", ", ", "\t"]),
)
@settings(deadline=None)  # it writes files
def test_path_lists_keep_paths(tmp_path_factory, folder, name, separator):
    path = write(tmp_path_factory.mktemp("lists"), f"{folder}{name}.mp4{separator}0\n")
    (record,) = read_path_list(path, VIDEOS, NAMES)
    assert (record.path, record.action) == (VIDEOS / f"{folder}{name}.mp4", 0)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("v.mp4", "expected '<video> <label>'"),
        ("v.mp4 archery", "'archery' is not a class number"),
        ("../v.mp4 1", "expected a path below the folder"),
        ("/data/v.mp4 1", "expected a path below the folder"),
        ("u.mp4,0", r"the same video as in .*list\.csv:1"),
        ("air_drumming/v.mp4 1", "air_drumming is class 0, but the row says 1"),
    ],
)
def test_path_list_errors_name_file_and_line(tmp_path, row, why):
    path = write(tmp_path, f"u.mp4 0\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"list\.csv, line 2: .*{why}"):
        read_path_list(path, VIDEOS, NAMES)


def test_names_of_numbered_lists(tmp_path):
    train, val = "annotations/train.csv", "annotations/val.csv"
    write(tmp_path, "a/u.mp4 0\nc/v.mp4 2\n", train)
    write(tmp_path, "val/u.mp4 0\nval/v.mp4 1\n", val)
    assert make_data(tmp_path, num_actions=3).action_names == ["a", "action 1", "c"]
    write(tmp_path, "a/u.mp4 0\na/v.mp4 1\nc/v.mp4 2\n", train)
    with pytest.raises(AnnotationError, match=r"train\.csv:2: 'a' has another label .*label_map"):
        _ = make_data(tmp_path).action_names
    write(tmp_path, "0,air drumming\n1,archery\n", "annotations/labels.csv")
    assert make_data(tmp_path).action_names == NAMES
    write(tmp_path, "archery\nair drumming\n", "annotations/label_map_k400.txt")
    assert make_data(tmp_path).action_names == NAMES[::-1]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.txt", "archery\narchery\n", "line 2: 'archery' has another label"),
        ("a.csv", "0,archery\n2,bowling\n", "class ids have gaps: .* 1 missing"),
        ("a.csv", "0,archery\nbowling\n", "line 2: expected '<label>,<name>'"),
    ],
)
def test_class_file_errors(tmp_path, name, text, why):
    with pytest.raises(AnnotationError, match=why):
        read_class_file(write(tmp_path, text, name))


def test_missing_files_say_what_to_fetch(tmp_path):
    data = make_data(tmp_path)
    with pytest.raises(MissingDataError, match=r"train\.csv does not exist\.\n.*cvdfoundation"):
        data.records("train")
    write(tmp_path, "a.mp4 0\n", "annotations/val.csv")
    with pytest.raises(MissingDataError, match=r"No video of the val split .*\n.*data\.videos"):
        data.records("val")


def test_configuration():
    config = compose("data=kinetics400", "protocol=kinetics400", "recipe=kinetics400")
    protocol, data = instantiate(config.protocol), instantiate(config.data, batch_size=1)
    assert protocol.headline == ("action_top1", "scene_top5")
    own = {s.split for s in (*protocol.sets, *protocol.validation) if s.data is None}
    assert own == {"val", "test"} < set(data.splits)
    assert (data.num_actions, data.num_scenes) == (400, 365)


def test_released_list(shared):
    annotations = shared / "data" / "annotations"
    names = read_class_file(annotations / "kinetics" / "label_map_k400.txt")
    assert names == read_class_file(
        annotations / "devias_filelists" / "hat" / "kinetics" / "labels.csv"
    )
    assert len(names) == 400
    records = read_path_list(annotations / "devias_filelists" / "k400" / "val.csv", VIDEOS, names)
    assert len(records) == 19_796
    assert (records[0].path, records[0].action) == (VIDEOS / "jf7RDuUTrsQ.mp4", 325)
    assert {record.action for record in records} == set(range(400))
