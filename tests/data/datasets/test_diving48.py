import json
from pathlib import Path

import pytest
from hydra.utils import instantiate

from devias.config.compose import compose
from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.datasets.diving48 import Diving48, read_official_list, read_vocabulary
from devias.data.path_lists import read_class_file, read_path_list
from helpers import write_text

VIDEOS = Path("videos")
VOCABULARY = [["Back", "15som", "05Twis", "FREE"], ["Back", "15som", "NoTwis", "PIKE"]]
NAMES = ["Back+15som+05Twis+FREE", "Back+15som+NoTwis+PIKE"]


def entry(name: object, label: object) -> dict[str, object]:
    return {"vid_name": name, "label": label, "start_frame": 0, "end_frame": 48}


def make_data(root: Path, **given) -> Diving48:
    return Diving48(str(root), num_actions=2, num_scenes=3, **given)


def test_official_files(tmp_path):
    lists = tmp_path / "annotations"
    write_text(lists / "Diving48_V2_train.json", json.dumps([entry("-mmq_00155", 1)]))
    write_text(lists / "Diving48_V2_test.json", json.dumps([entry("a_00001", 0)]))
    write_text(lists / "Diving48_vocab.json", json.dumps(VOCABULARY))
    for name in ("-mmq_00155.mp4", "a_00001.mp4", "a_00001/1.jpg"):
        write_text(tmp_path / "rgb" / name)
    data = make_data(tmp_path)
    assert data.action_names == NAMES
    (record,) = data.records("train")
    assert (record.path, record.action) == (data.videos / "-mmq_00155.mp4", 1)
    assert (record.start, record.source) == (None, f"{lists}/Diving48_V2_train.json, entry 1")
    assert data.records("val") == data.records("test")
    (stills,) = make_data(tmp_path, suffix="").records("test")
    assert stills.path == data.videos / "a_00001"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (entry("b", -1), "-1 is not a class number"),
        (entry("b", "0"), "expected 'label' to be an integer"),
        (entry("../b", 0), "expected a path below the folder"),
        (entry(5, 0), "expected 'vid_name' to be a string, got 5"),
        (entry("a", 1), r"the same video as in .*list\.json, entry 1"),
    ],
)
def test_errors_name_file_and_entry(tmp_path, broken, why):
    path = write_text(tmp_path / "list.json", json.dumps([entry("a", 0), broken]))
    with pytest.raises(AnnotationError, match=rf"list\.json, entry 2: .*{why}"):
        read_official_list(path, VIDEOS)


@pytest.mark.parametrize(
    ("vocabulary", "why"),
    [
        ([*VOCABULARY, VOCABULARY[0]], "entry 3: 'Back.15som.05Twis.FREE' has another label than"),
        ([["Back", 1]], "entry 1: expected a string, got 1"),
        (["Back"], "entry 1: expected a list"),
    ],
)
def test_vocabulary_errors(tmp_path, vocabulary, why):
    with pytest.raises(AnnotationError, match=rf"vocab\.json, {why}"):
        read_vocabulary(write_text(tmp_path / "vocab.json", json.dumps(vocabulary)))


def test_released_lists(tmp_path):
    lists = tmp_path / "annotations"
    write_text(lists / "train.csv", "a_00001.mp4 1\n")
    data = make_data(tmp_path)
    assert [(r.path.name, r.action) for r in data.read_split("train")] == [("a_00001.mp4", 1)]
    assert data.action_names == ["action 0", "action 1"]
    write_text(lists / "Diving48_vocab.json", json.dumps(VOCABULARY))
    assert make_data(tmp_path).action_names == NAMES
    with pytest.raises(MissingDataError, match=r"V2_test\.json does not exist\.\n.*svcl\.ucsd"):
        data.records("test")


def test_the_real_released_lists(shared):
    annotations = shared / "data" / "annotations"
    train, test = (
        read_path_list(annotations / "devias_filelists" / "diving48" / f"{kind}.csv", VIDEOS)
        for kind in ("train", "test")
    )
    assert (len(train), len(test)) == (15_027, 1_970)
    assert (train[0].path.name, train[0].action) == ("-mmq0PT-u8k_00155.mp4", 0)
    assert len({record.action for record in train + test}) == 47
    assert not {record.path for record in train} & {record.path for record in test}
    assert len(read_class_file(annotations / "diving48" / "label_map.txt")) == 48


def test_configuration():
    config = compose("data=diving48", "protocol=diving48", "recipe=downstream")
    protocol, data = instantiate(config.protocol), instantiate(config.data, batch_size=1)
    assert protocol.headline == ("action_top1", "scene_top5")
    assert {s.split for s in (*protocol.sets, *protocol.validation)} < set(data.splits)
    assert (data.num_actions, data.num_scenes) == (48, 365)
