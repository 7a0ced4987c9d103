from pathlib import Path

import pytest

from devias.data.check.lists import (
    count_classes,
    count_pairs,
    find_leaks,
    find_unlisted,
    find_wrong_labels,
    judge_equal,
)
from devias.data.records import VideoRecord

ACTIONS = ["Ride Bike", "Hand-stand", "wave"]


def record(path: str, action: int = 0, scene: int = -1, line: int = 1) -> VideoRecord:
    return VideoRecord(Path(path), action, scene, source=f"list:{line}")


def test_leaks_are_videos_of_a_recording_that_training_has():
    records = {
        "train": [record("a/g1_c1.avi", line=1), record("a/g2_c1.avi", line=2)],
        "val": [record("a/g2_c1.avi", line=3)],
        "test": [record("a/g1_c7.avi", line=4), record("a/g3_c1.avi", line=5)],
    }
    found = list(find_leaks(records, "train", lambda r: r.path.name.split("_")[0]))
    assert [(p.split, p.video, p.source) for p in found] == [
        ("val", "a/g2_c1.avi", "list:3"),
        ("test", "a/g1_c7.avi", "list:4"),
    ]
    assert "the same video as g2_c1.avi (list:2) of train" in found[0].detail
    assert "of the same recording as g1_c1.avi (list:1) of train" in found[1].detail


def test_folders_of_other_classes_are_told_however_they_are_spelt():
    rows = [
        record("v/ride_bike/1.avi", 0), record("v/HandStand/1.avi", 1), record("v/Wave/2.avi", 1),
        record("v/wave/3.avi", -1), record("v/clips/4.avi", 2),
    ]  # fmt: skip
    (problem,) = find_wrong_labels({"train": rows}, ACTIONS)
    assert (problem.kind, problem.video) == ("label", "v/Wave/2.avi")
    assert problem.detail == "in the folder of wave, listed as Hand-stand"


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (("train", record("b.avi", 0)), "duplicate"),
        (("train", record("b.avi", 1)), "label"),
        (("test", record("b.avi", 0)), "leak"),
        (("test", record("a.avi", 0)), None),  # said as a leak of the lists
    ],
)
def test_equal_files_are_judged_by_their_lists(second, kind):
    records = {"train": [record("a.avi", 0, line=7)], "test": []}
    split, other = second
    records[split] = [*records[split], other]
    found = list(judge_equal([[Path("a.avi"), other.path]], records, "train"))
    assert [problem.kind for problem in found] == ([] if kind is None else [kind])
    assert all("the same bytes as a.avi (train, list:7)" in problem.detail for problem in found)


def test_files_that_no_list_names_are_found(tmp_path):
    for name in ("a/1.avi", "a/2.MP4", "a/notes.txt", "b/frames/0.jpg", "b/other/0.jpg", "c/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = [record(f"{tmp_path}/{name}") for name in ("a/1.avi", "b/frames", "c/x.png")]
    found = [Path(p.video).relative_to(tmp_path) for p in find_unlisted(tmp_path, {"t": listed})]
    assert sorted(map(str, found)) == ["a/2.MP4", "b/other"]


def test_classes_are_counted_by_split():
    records = {"train": [record("a", 0), record("b", 0), record("c", 2)], "test": [record("d", 1)]}
    assert count_classes(records, ACTIONS) == [
        {"class": "Ride Bike", "train": 2, "test": 0},
        {"class": "Hand-stand", "train": 0, "test": 1},
        {"class": "wave", "train": 1, "test": 0},
    ]


def test_pairs_are_counted_in_the_split_and_in_training():
    train = [record("a", 0, 5), record("b", 0, 5), record("c", 1, 5), record("d", 1, -1)]
    test = [record("e", 0, 5), record("f", 1, 6), record("g", 1, 6), record("h", -1, 6)]
    audit = count_pairs({"train": train, "test": test, "unlabeled": [record("i")]}, "train")
    assert audit == {"test": {(0, 5): (1, 2), (1, 6): (2, 0)}}
    assert count_pairs({"train": [record("a")], "test": test}, "train") == {}


def test_hvu_is_audited_as_its_authors_describe_it(shared):
    from devias.data.datasets.hvu import HVU, read_released_list

    lists = shared / "data/annotations/devias_filelists/hvu"
    names = {"train": "train", "seen": "val_seen", "unseen": "val_unseen"}
    records = {s: read_released_list(lists / f"{n}.csv", Path("v")) for s, n in names.items()}
    audit = count_pairs(records, "train")
    trained = {split: list(found.values()) for split, found in audit.items()}
    assert len(trained["seen"]) == 16
    assert min(in_training for _, in_training in trained["seen"]) >= 158
    assert len(trained["unseen"]) == 205
    assert sum(videos for videos, in_training in trained["unseen"] if not in_training) == 52
    assert sum(videos for videos, n in trained["unseen"] if 1 <= n <= 5) == 177
    data = HVU("v", num_actions=739, num_scenes=248)
    (leak,) = find_leaks(records, "train", data.recording_of)
    assert "NBoDDiLN1rA_482_492" in leak.video
