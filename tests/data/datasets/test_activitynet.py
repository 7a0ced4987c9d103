import json
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate

from devias.config.compose import compose
from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.dataset import read_frames
from devias.data.datasets.activitynet import ActivityNet, read_released_list, read_segments
from helpers import write_text
from media import read_number, write_video

NAMES = ["Archery", "Beer pong", "Dodgeball"]


def make_data(root: Path, **given) -> ActivityNet:
    return ActivityNet(str(root), num_actions=3, num_scenes=3, **given)


def video(subset: str, *segments: tuple[float, float, str]) -> dict[str, object]:
    annotations = [{"segment": [start, end], "label": label} for start, end, label in segments]
    return {"subset": subset, "duration": 2.0, "url": "", "annotations": annotations}


def write_official(folder: Path, **videos: object) -> Path:
    content = json.dumps({"version": "VERSION 1.3", "taxonomy": [], "database": videos})
    return write_text(folder / "activity_net.v1-3.min.json", content)


def find(name: str) -> str:
    return f"videos/v_{name}.mp4"


def test_segments_of_official_videos(tmp_path):
    path = write_official(
        tmp_path / "annotations",
        abc=video("training", (0.5, 1.25, "Dodgeball"), (1.5, 2.0, "Archery")),
        d_e=video("validation", (2.0, 0.25, "Beer pong")),
        none=video("testing"),
    )
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "v_abc.mkv", 50)
    write_text(folder / "v_d_e/1.jpg")
    data = make_data(tmp_path)
    assert data.action_names == ["Archery", "Beer pong", "Dodgeball"]
    first, second = data.records("train")
    assert (first.path, first.action) == (folder / "v_abc.mkv", 2)
    assert (first.start, first.end, first.source) == (0.5, 1.25, f"{path}, entry abc")
    assert (second.path, second.action, second.start) == (first.path, 0, 1.5)
    frames, _, segment = read_frames(second, np.arange)
    assert segment == range(38, 50)  # at 25 a second
    assert read_number(frames[0].numpy()) == 38
    (reversed_times,) = data.records("test")
    assert (reversed_times.start, reversed_times.end) == (0.25, 2.0)
    assert reversed_times.path == folder / "v_d_e"
    # A file of names says the order as well.
    write_text(tmp_path / "annotations/label_map.txt", "\n".join(NAMES[::-1]))
    assert [record.action for record in make_data(tmp_path).records("train")] == [0, 2]
    write_text(tmp_path / "annotations/label_map.txt", "\n".join(NAMES[:2]))
    with pytest.raises(AnnotationError, match=r"entry abc: there is no class 'Dodgeball' in .*map"):
        make_data(tmp_path).records("train")


@pytest.mark.parametrize("row", ["a 3 3 9 0", "a 3.0 3 9 0"])
def test_a_moment_is_the_second_around_it(tmp_path, row):
    (record,) = read_released_list(write_text(tmp_path / "train.csv", row), find)
    assert (record.start, record.end) == (2.5, 3.5)
    path = write_text(tmp_path / "train.csv", "a 0 0 58.98 148")
    (record,) = read_released_list(path, find)
    assert (record.start, record.end) == (0, 0.5)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (video("training", (0, 1, 5)), "expected 'label' to be a string, got 5"),
        (video("training", ("0", 1, "a")), 'expected a number, got "0"'),
        (video("training", (-1, 1, "a")), "there is no segment from -1 s to 1 s"),
        ({"subset": "training", "annotations": [{"segment": [1], "label": "a"}]}, "2 times, got 1"),
        ({"subset": "training"}, "expected an object with 'annotations'"),
    ],
)
def test_errors_name_file_and_video(tmp_path, entry, why):
    with pytest.raises(AnnotationError, match=rf"min\.json, entry b: .*{why}"):
        read_segments(write_official(tmp_path, a=video("training"), b=entry))
    with pytest.raises(AnnotationError, match=r"entry \.\./b: '\.\./b' is not a YouTube id"):
        read_segments(write_official(tmp_path, **{"../b": video("training")}))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("b 0 1 2", "expected '<id> <start> <end> <duration> <label>'"),
        ("../b 0 1 2 0", "'../b' is not a YouTube id"),
        ("b 1 0.5 2 0", "there is no segment from 1.0 s to 0.5 s"),
        ("b 0 nan 2 0", "'nan' is no time"),
        ("b 0 1 2 x", "'x' is not a class number"),
    ],
)
def test_released_list_errors_name_file_and_line(tmp_path, row, why):
    path = write_text(tmp_path / "train.csv", f"b 0 1 2 0\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"train\.csv, line 2: .*{why}"):
        read_released_list(path, find)


def test_released_lists(tmp_path):
    write_text(tmp_path / "annotations/train.csv", "a-b 1e-06 1.5 2 0\na-b 1.5 2.1 2 1\n")
    write_text(tmp_path / "videos/v_a-b.webm")
    data = make_data(tmp_path)
    first, second = data.records("train")
    assert (first.path, first.start) == (data.videos / "v_a-b.webm", 1e-6)
    assert (second.path, second.end, second.action) == (first.path, 2.1, 1)
    assert data.action_names == ["action 0", "action 1", "action 2"]
    with pytest.raises(MissingDataError, match=r"min\.json does not exist\.\n.*activity-net\.org"):
        data.records("val")


def test_the_real_released_lists(shared):
    annotations = shared / "data" / "annotations"
    folder = annotations / "devias_filelists" / "activitynet"
    train, val = (read_released_list(folder / f"{kind}.csv", find) for kind in ("train", "val"))
    assert (len(train), len({record.file for record in train})) == (15_409, 10_024)
    assert (len(val), len({record.file for record in val})) == (7_654, 4_926)
    assert {r.action for r in train} == {r.action for r in val} == set(range(200))
    assert all(0 <= record.start < record.end for record in train + val)
    assert (train[0].file, train[0].start, train[0].action) == (find("sJFgo9H6zNo"), 0.01, 33)


def test_configuration():
    config = compose("data=activitynet", "protocol=activitynet", "recipe=downstream_small")
    protocol, data = instantiate(config.protocol), instantiate(config.data, batch_size=1)
    assert protocol.headline == ("action_top1", "scene_top5")
    assert {s.split for s in (*protocol.sets, *protocol.validation)} < set(data.splits)
    assert (data.num_actions, data.num_scenes) == (200, 365)
