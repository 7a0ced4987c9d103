import pytest

from devias.data.annotations import AnnotationError
from devias.data.datasets.synthetic.annotations import read_classes, read_split, write_annotations
from devias.data.datasets.synthetic.plan import SyntheticSettings, plan_split
from devias.structures import UNKNOWN


@pytest.fixture
def folder(tmp_path):
    clips = dict.fromkeys(SyntheticSettings().clips, 9)
    settings = SyntheticSettings(clips=clips)
    plans = {split: plan_split(settings, split) for split in clips}
    write_annotations(tmp_path, settings, plans)
    return tmp_path


def test_what_is_written_reads_back(folder):
    assert read_classes(folder, "actions")[:2] == ["waving", "bending"]
    assert read_classes(folder, "scenes")[7] == "snow"
    plans = plan_split(SyntheticSettings(), "val_unseen")[:9]
    records = read_split(folder, "val_unseen")
    assert [(r.action, r.scene) for r in records] == [(p.action, p.scene) for p in plans]
    assert [r.path for r in records] == [folder / f"videos/{p.name}.mp4" for p in plans]
    assert [r.masks for r in records] == [folder / f"masks/{p.name}.png" for p in plans]
    assert records[2].source == f"{folder}/annotations/val_unseen.txt:3"


def test_files_look_as_documented(folder):
    assert (folder / "classes_actions.txt").read_text().startswith("1 waving\n2 bending\n")
    first = (folder / "annotations/val_unseen.txt").read_text().splitlines()[0]
    assert first == "waving/v_waving_g03_c001.mp4 0 2"
    first = (folder / "annotations/scene_only.txt").read_text().splitlines()[0]
    assert first == "no_actor/v_no_actor_g06_c001.mp4 -1 0"
    assert {record.action for record in read_split(folder, "scene_only")} == {UNKNOWN}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.mp4 0", r"val_seen\.txt, line 2: expected '<path> <action> <scene>', got 'a.mp4 0'"),
        ("a.mp4 8 0", "line 2: class 8 is out of range, 0 to 7"),
        ("a.mp4 0 8", "line 2: class 8 is out of range"),
        ("a.mp4 0 -1", "line 2: '-1' is not a class number"),
        ("a.mp4 -2 0", "line 2: '-2' is not a class number"),
        ("a.mp4 x 0", "line 2: 'x' is not a class number"),
        ("a/../../a.mp4 0 0", "line 2: expected a path below the folder"),
        ("./good.mp4 0 0", r"line 2: the same video as in .*val_seen\.txt:1"),
    ],
)
def test_bad_rows_are_named(folder, row, message):
    (folder / "annotations/val_seen.txt").write_text(f"good.mp4 0 0\r\n{row}\r\n")
    with pytest.raises(AnnotationError, match=message):
        read_split(folder, "val_seen")


def test_class_lists_must_count_from_one(folder):
    (folder / "classes_actions.txt").write_text("1 waving\n3 bending\n")
    with pytest.raises(AnnotationError, match=r"classes_actions\.txt: class ids have gaps: .* 1 "):
        read_classes(folder, "actions")


def test_an_unknown_split_is_a_missing_file(folder):
    with pytest.raises(FileNotFoundError, match="test_unsen"):
        read_split(folder, "test_unsen")
