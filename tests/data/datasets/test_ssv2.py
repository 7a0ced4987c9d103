import json
from pathlib import Path

import pytest
from hydra.utils import instantiate

from devias.config.compose import compose
from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.datasets.ssv2 import SomethingSomethingV2, read_labels, read_official_list
from devias.data.path_lists import read_path_list
from devias.errors import ConfigError
from helpers import write_text

VIDEOS = Path("videos")
NAMES = ["Closing something", "Putting something onto something"]
LABELS = '{"Putting something onto something": "1", "Closing something": "0"}'


def entry(number: object, template: object = "Putting [something] onto [something]") -> object:
    return {
        "id": number,
        "label": "putting a cup onto a table",
        "template": template,
        "placeholders": ["a cup", "a table"],
    }


def make_data(root: Path, **given) -> SomethingSomethingV2:
    return SomethingSomethingV2(str(root), **{"num_actions": 2, "num_scenes": 3, **given})


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_official_files(tmp_path, prefix):
    lists = tmp_path / "annotations"
    train = write_text(lists / f"{prefix}train.json", json.dumps([entry("45")]))
    write_text(lists / f"{prefix}validation.json", json.dumps([entry("7", "Closing [something]")]))
    write_text(lists / f"{prefix}labels.json", LABELS)
    for name in ("45.webm", "7.webm", "7/1.jpg"):
        write_text(tmp_path / "20bn-something-something-v2" / name)
    data = make_data(tmp_path)
    assert data.action_names == NAMES
    (record,) = data.records("train")
    assert (record.path, record.action) == (data.videos / "45.webm", 1)
    assert record.source == f"{train}, entry 1"
    assert [r.action for r in data.records("val")] == [0]
    (stills,) = make_data(tmp_path, suffix="").records("test")
    assert stills.path == data.videos / "7"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (entry("8", "Opening [something]"), "there is no class 'Opening something'"),
        (entry(8), "expected 'id' to be a string, got 8"),
        (entry("../8"), "expected a path below the folder"),
        ({"id": "8"}, "expected an object with 'template'"),
        (entry("7"), r"the same video as in .*list\.json, entry 1"),
    ],
)
def test_errors_name_file_and_entry(tmp_path, broken, why):
    path = write_text(tmp_path / "list.json", json.dumps([entry("7"), broken]))
    with pytest.raises(AnnotationError, match=rf"list\.json, entry 2: .*{why}"):
        read_official_list(path, VIDEOS, NAMES)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"a": "0", "b": "2"}, "class ids have gaps: .* 1 missing"),
        ({"a": "0", "b": "0"}, "entry b: 'b' has the same label as 'a'"),
        ({"a": 0}, "entry a: expected a string, got 0"),
    ],
)
def test_label_errors(tmp_path, labels, why):
    with pytest.raises(AnnotationError, match=why):
        read_labels(write_text(tmp_path / "labels.json", json.dumps(labels)))


def test_released_lists_of_the_official_videos(tmp_path):
    write_text(tmp_path / "annotations/train.csv", "45.mp4 1\n")
    write_text(tmp_path / "annotations/val.csv", "7.mp4 0\n")
    write_text(tmp_path / "20bn-something-something-v2/45.webm")
    with pytest.raises(MissingDataError, match=r"45\.mp4 .*\n.*qualcomm.*"):
        make_data(tmp_path).records("train")
    data = make_data(tmp_path, suffix=".webm")
    assert [r.path.name for r in data.records("train")] == ["45.webm"]
    assert data.action_names == ["action 0", "action 1"]
    write_text(tmp_path / "annotations/label_map.txt", "\n".join(NAMES))
    assert make_data(tmp_path).action_names == NAMES


def test_videos_are_never_flipped(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.horizontal_flip must be 0.* not 0\.5"):
        make_data(tmp_path, horizontal_flip=0.5)
    assert make_data(tmp_path).train_transform.horizontal_flip == 0


def test_the_real_released_lists(shared):
    folder = shared / "data" / "annotations" / "devias_filelists" / "mini_ssv2"
    train, val = (read_path_list(folder / f"{kind}.csv", VIDEOS) for kind in ("train", "val"))
    assert (len(train), len(val)) == (80_303, 11_341)
    assert (train[0].path.name, train[0].action) == ("141174.mp4", 27)
    assert {r.action for r in train} == {r.action for r in val} == set(range(87))
    assert not {record.file for record in train} & {record.file for record in val}


@pytest.mark.parametrize(("name", "count"), [("ssv2", 174), ("ssv2_mini", 87)])
def test_configuration(name, count):
    config = compose(f"data={name}", "protocol=ssv2", "recipe=downstream")
    protocol, data = instantiate(config.protocol), instantiate(config.data, batch_size=1)
    assert protocol.headline == ("action_top1", "scene_top5")
    assert {s.split for s in (*protocol.sets, *protocol.validation)} < set(data.splits)
    assert (data.num_actions, data.num_scenes) == (count, 365)
