from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.dataset import SampleKey, read_frames
from devias.data.datasets.scuba import SCUBA, read_clip_list

VIDEOS = Path("videos")
SMALL = {"clip_length": 2, "stride": 1, "image_size": 8, "num_workers": 0}


def write_clip(folder: Path, name: str, count: int, first: int = 10, step: int = 10) -> None:
    """Gray stills `name`, numbered from 1, of the values `first`, `first` + `step`, …"""
    folder.mkdir(parents=True)
    for number in range(count):
        gray = np.full((8, 12, 3), first + step * number, np.uint8)
        Image.fromarray(gray).save(folder / name.format(number + 1))


@pytest.fixture
def root(tmp_path):
    """Both sources, as their archives unpack: 7 and 4 frames."""
    write_clip(tmp_path / "ucf101-places" / "v_Archery_g01_c01__0", "frame{:06}.jpg", 7)
    write_clip(tmp_path / "ucf101-places" / "v_Archery_g01_c01__1", "frame{:06}.jpg", 7, 100)
    write_clip(tmp_path / "kinetics-vqgan" / "val" / "6Ib_000047_000057__0", "{:06}.jpg", 4)
    for source, text in (
        ("ucf101", "v_Archery_g01_c01__0 7 2\nv_Archery_g01_c01__1 7 2\n"),
        ("kinetics", "val/6Ib_000047_000057__0 4 0\n"),
    ):
        (tmp_path / "annotations" / source).mkdir(parents=True)
        (tmp_path / "annotations" / source / "test.csv").write_text(text)
    return tmp_path


def make_data(root: Path, **given) -> SCUBA:
    return SCUBA(str(root), num_actions=3, num_scenes=5, **SMALL, **given)


def test_both_sources_and_their_versions(root):
    data = make_data(root)
    places = data.records("ucf101-places")
    assert [(r.path.name, r.action, r.scene) for r in places] == [
        ("v_Archery_g01_c01__0", 2, -1),
        ("v_Archery_g01_c01__1", 2, -1),
    ]
    (record,) = data.records("kinetics-vqgan")
    assert record.path == root / "kinetics-vqgan" / "val" / "6Ib_000047_000057__0"
    assert record.source == f"{root}/annotations/kinetics/test.csv:1"
    assert data.splits[:3] == ("ucf101-places", "ucf101-vqgan", "ucf101-sinusoidal")
    with pytest.raises(MissingDataError, match=r"ucf101-vqgan does not exist\.\nSCUBA is at http"):
        data.records("ucf101-vqgan")


def test_the_list_of_stillmix_comes_first(root):
    (root / "annotations" / "ucf101" / "testlist01.txt").write_text("v_Archery_g01_c01__1 7 1\n")
    assert [record.action for record in make_data(root).records("ucf101-places")] == [1]


@pytest.mark.parametrize(
    ("split", "middle"), [("ucf101-places", [40, 130]), ("kinetics-vqgan", [20])]
)
def test_scufo_shows_the_middle_frame_all_the_time(root, split, middle):
    moving, still = make_data(root), make_data(root, still=True)
    for data in (moving, still):
        data.add_eval(split, num_clips=2, num_crops=3)
    for index, value in enumerate(middle):
        video = still._eval[split, 2, 3][SampleKey(index)].video
        assert video.shape == (6, 3, 2, 8, 8)
        assert np.allclose(video, value, atol=2)
        assert len(moving._eval[split, 2, 3][SampleKey(index)].video.unique()) > 3


@given(count=st.integers(1, 40))
@settings(deadline=None, max_examples=15)  # it writes files
def test_one_frame_is_left_whatever_the_length(tmp_path_factory, count):
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "v__0", "{:06}.png", count, first=0, step=6)
    (folder / "list.txt").write_text(f"v__0 {count} 0\n")
    (record,) = read_clip_list(folder / "list.txt", folder, still=True)
    frames, _, segment = read_frames(record, np.arange)
    assert len(segment) == 1
    assert frames.unique().tolist() == [(count - 1) // 2 * 6]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("v__0 7", "expected '<video>__<number> <frames> <label>'"),
        ("v__0 7 -1", "'-1' is not a class number"),
        ("v__0 seven 1", "'seven' is not a class number"),
        ("v__0 0 1", "a clip without frames"),
        ("../v__0 7 1", "expected a path below the folder"),
        ("u__0 7 1", r"the same video as in .*list\.txt:1"),
    ],
)
def test_list_errors_name_file_and_line(tmp_path, row, why):
    (tmp_path / "list.txt").write_text(f"u__0 7 1\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"list\.txt, line 2: .*{why}"):
        read_clip_list(tmp_path / "list.txt", VIDEOS)


def test_the_number_of_frames_is_held_against_one_folder(root):
    path = root / "annotations" / "ucf101" / "test.csv"
    path.write_text("v_Archery_g01_c01__0 8 2\nv_Archery_g01_c01__1 9 2\n")
    with pytest.raises(AnnotationError, match=r"line 1: .*__0 has 7 frames, but the row says 8$"):
        make_data(root).records("ucf101-places")
    path.write_text("v_Archery_g01_c01__0 7 2\nv_Archery_g01_c01__1 9 2\n")
    assert len(make_data(root).records("ucf101-places")) == 2


@pytest.mark.parametrize(
    ("source", "rows", "classes"), [("ucf101", 4550, 24), ("kinetics", 10_190, 393)]
)
def test_released_lists(shared, source, rows, classes):
    folder = shared / "data" / "annotations" / "devias_filelists" / "scuba" / source
    records = read_clip_list(folder / "test.csv", VIDEOS)
    assert len(records) == rows
    assert len({record.action for record in records}) == classes
    stills = read_clip_list(folder / "test.csv", VIDEOS, still=True)
    assert {round((r.end - r.start) * 25, 9) for r in stills} == {1.0}
