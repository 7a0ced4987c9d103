from pathlib import Path

import numpy as np
import pytest

from devias.data.dataset import read_frames
from devias.data.datasets.folder import Folder
from devias.data.datasets.kinetics400 import Kinetics400
from devias.data.links import OutsideLinkError, real_folders, require_within
from devias.data.records import Background, Composite, VideoRecord
from helpers import write_text
from media import write_video


def kinetics(root: Path, **given) -> Kinetics400:
    return Kinetics400(str(root), num_actions=1, num_scenes=1, **given)


def make_files(root: Path, count: int = 3) -> Path:
    """A list of videos, of which the second is a link to a file elsewhere."""
    for number in range(count):
        write_text(root / f"data/videos/{number}.mp4")
    (root / "data/videos/1.mp4").unlink()
    (root / "data/videos/1.mp4").symlink_to(write_text(root / "elsewhere/secret.mp4"))
    rows = "".join(f"{number}.mp4 0\n" for number in range(count))
    write_text(root / "data/annotations/train.csv", rows)
    return root / "data"


def test_a_link_out_of_the_folder_is_refused_by_file_and_line(tmp_path):
    root = make_files(tmp_path)
    with pytest.raises(OutsideLinkError, match=r"train\.csv:2: .*1\.mp4 leads out .*secret\.mp4"):
        kinetics(root).records("train")
    assert len(kinetics(root, follow_links=True).records("train")) == 3


def test_a_link_that_no_glance_finds_is_refused_when_it_is_opened(tmp_path):
    data = kinetics(make_files(tmp_path, 40), batch_size=1)
    data.add_train()
    dataset = data._train
    assert dataset is not None
    with pytest.raises(OutsideLinkError, match=r"train\.csv:2: .*1\.mp4 leads out"):
        dataset._clips(1, lambda n: np.zeros((1, 16), np.int64))


def test_folders_that_are_links_are_fine(tmp_path):
    root = make_files(tmp_path)
    (root / "videos/1.mp4").unlink()
    (root / "videos/1.mp4").symlink_to(root / "videos/0.mp4")
    (tmp_path / "disk").mkdir()
    (root / "videos").rename(tmp_path / "disk/kinetics")
    (root / "videos").symlink_to(tmp_path / "disk/kinetics")
    (tmp_path / "link").symlink_to(root)
    assert len(kinetics(tmp_path / "link").records("train")) == 3
    # So are the folders of the two lists.
    (root / "videos").unlink()
    (root / "videos").mkdir()
    (root / "videos/train").symlink_to(tmp_path / "disk/kinetics")
    write_text(root / "annotations/train.csv", "train/0.mp4 0\ntrain/2.mp4 0\n")
    assert len(kinetics(root).records("train")) == 2


def test_a_folder_whose_name_begins_alike_is_another(tmp_path):
    folders = real_folders([tmp_path / "videos"])
    write_text(tmp_path / "videos2/a.mp4")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/link").symlink_to(tmp_path / "videos2")
    with pytest.raises(OutsideLinkError, match="list:1"):
        require_within(VideoRecord(tmp_path / "videos/link/a.mp4", source="list:1"), folders)
    require_within(VideoRecord(tmp_path / "videos/a.mp4"), folders)
    require_within(VideoRecord(tmp_path / "videos2/a.mp4"), ())


@pytest.mark.parametrize("outside", ["masks", "frames", "masks of the background"])
def test_every_part_of_a_composite_lies_within(tmp_path, outside):
    folders = real_folders([tmp_path / "videos"])
    parts = {
        part: tmp_path / ("elsewhere" if part == outside else "videos") / part
        for part in ("masks", "frames", "masks of the background")
    }
    background = Background(parts["frames"], parts["masks of the background"], num_frames=1)
    composite = Composite(parts["masks"], background)
    record = VideoRecord(tmp_path / "videos/a", source="list:1", composite=composite)
    with pytest.raises(OutsideLinkError, match=f"elsewhere/{outside}"):
        require_within(record, folders)
    require_within(record, real_folders([tmp_path]))


def test_frames_are_read_of_files_within(tmp_path):
    (tmp_path / "videos").mkdir()
    record = VideoRecord(write_video(tmp_path / "videos/a.mp4", 3))
    frames, _, _ = read_frames(record, np.arange, real_folders([tmp_path / "videos"]))
    assert len(frames) == 3
    with pytest.raises(OutsideLinkError):
        read_frames(record, np.arange, real_folders([tmp_path / "other"]))


def test_links_in_a_folder_of_ones_own_are_taken_unless_a_list_names_them(tmp_path):
    for name in "pqrstuv":
        write_text(tmp_path / f"own/run/{name}.mp4")
    (tmp_path / "own/walk").symlink_to(write_text(tmp_path / "elsewhere/a.mp4").parent)
    assert Folder(str(tmp_path / "own")).action_names == ["run", "walk"]
    assert len(Folder(str(tmp_path / "own")).records("train")) > 3
    write_text(tmp_path / "own/videos.csv", "path,action,split\nwalk/a.mp4,walk,train\n")
    with pytest.raises(OutsideLinkError, match=r"videos\.csv:2"):
        Folder(str(tmp_path / "own")).records("train")
