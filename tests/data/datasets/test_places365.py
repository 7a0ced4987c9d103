"""Places365: its lists, and images that reach the model as still clips."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.datasets.places365 import Places365, read_image_list
from devias.labels.on_device import BatchStage
from devias.structures import UNKNOWN

IMAGES = Path("images")


def write(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_bytes(text.encode())
    return path


def test_official_and_released_lists(tmp_path):
    rows = "/a/airfield/00000001.jpg 0\nPlaces365_val_00000001.jpg 165\r\n\r\nx/y.jpg,7\r\n"
    path = write(tmp_path, rows)
    first, second, third = read_image_list(path, IMAGES)
    assert first.path == IMAGES / "a" / "airfield" / "00000001.jpg"
    assert (first.scene, first.action, first.source) == (0, UNKNOWN, f"{path}:1")
    assert (second.path, second.scene) == (IMAGES / "Places365_val_00000001.jpg", 165)
    assert (third.path, third.scene, third.source) == (IMAGES / "x" / "y.jpg", 7, f"{path}:4")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a.jpg", "expected '<image> <label>', got 'a.jpg'"),
        ("a.jpg x", "'x' is not a class number"),
        ("a.jpg,-1", "'-1' is not a class number"),
        ("a.jpg 1 forest", "'forest' is not a class number"),
        ("../a.jpg 1", "expected a path below the folder"),
        ("/../a.jpg 1", "expected a path below the folder"),
        ("//etc/a.jpg 1", "expected a path below the folder"),
        ("/b.jpg 2", r"the same video as in .*list\.txt:1"),
    ],
)
def test_list_errors_name_file_and_line(tmp_path, row, why):
    path = write(tmp_path, f"b.jpg 1\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"list\.txt, line 2: {why}"):
        read_image_list(path, IMAGES)


@given(
    name=st.text("abc,( &", min_size=1).map(str.strip).filter(lambda text: text.strip(", ")),
    label=st.integers(0, 1000),
    separator=st.sampled_from([" ", ",", ", ", "\t"]),
)
@settings(deadline=None)  # it writes files
def test_names_keep_their_spaces_and_commas(tmp_path_factory, name, label, separator):
    path = write(tmp_path_factory.mktemp("lists"), f"{name}.jpg{separator}{label}\n")
    (record,) = read_image_list(path, IMAGES)
    assert (record.path, record.scene) == (IMAGES / f"{name}.jpg", label)


@pytest.fixture
def root(tmp_path) -> Path:
    """Two scenes, dark and bright, in the official layout; train images lie in class folders."""
    values = {"data_256/b/bar/1.jpg": 30, "data_256/s/sky/1.jpg": 220, "data_256/s/sky/2.jpg": 230}
    values |= {f"val_256/Places365_val_0000000{n}.jpg": 220 - 190 * (n % 2) for n in (1, 2)}
    for name, value in values.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(path)
    train = "/b/bar/1.jpg 0\n/s/sky/1.jpg 1\n/s/sky/2.jpg 1\n"
    (tmp_path / "places365_train_standard.txt").write_text(train)
    (tmp_path / "places365_val.txt").write_text(
        "Places365_val_00000001.jpg 0\nPlaces365_val_00000002.jpg 1\n"
    )
    (tmp_path / "categories_places365.txt").write_text("/b/bar 0\n/s/sky 1\n")
    return tmp_path


def make_data(root: Path, **settings) -> Places365:
    defaults = {"num_actions": 0, "num_scenes": 2, "clip_length": 4, "image_size": 16}
    loading = {"batch_size": 2, "num_workers": 0}
    return Places365(str(root), stage=BatchStage(), **{**defaults, **loading, **settings})


def test_images_are_loaded_once_and_repeated_on_the_device(root):
    data = make_data(root)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.video.shape == (2, 3, 1, 16, 16)
    clips = data.on_after_batch_transfer(batch, 0)
    assert clips.video.shape == (2, 3, 4, 16, 16)
    assert data.input_size == (4, 16, 16)
    assert (clips.video == clips.video[:, :, :1]).all()
    assert clips.action.tolist() == [UNKNOWN, UNKNOWN]
    (val,) = data.val_dataloader()
    bright = {
        scene: value > 0
        for batch in val
        for scene, value in zip(
            batch.scene.tolist(), batch.video.float().mean((1, 2, 3, 4)) - 128, strict=True
        )
    }
    assert bright == {0: False, 1: True}
    data.add_eval("test", 1, 3)
    test = data.eval_dataloader("test", 1, 3)
    assert next(iter(test)).video.shape[0] == 3 * len(next(iter(test)))
    assert data.scene_names == ["bar", "sky"]


def test_missing_files_say_what_to_fetch(root):
    (root / "places365_val.txt").unlink()
    with pytest.raises(MissingDataError, match=r"places365_val\.txt does not exist.\n.*download"):
        make_data(root).setup("validate")
    with pytest.raises(MissingDataError, match=r"nowhere.b.bar.1\.jpg .*\n.*data\.train_images"):
        make_data(root, train_images=str(root / "nowhere")).setup("fit")
    with pytest.raises(ValueError, match=r"standard\.txt:2: scene label 1 is outside 0–0"):
        make_data(root, num_scenes=1).setup("fit")


def test_lists_and_images_may_lie_elsewhere(root):
    released = root / "train.csv"
    released.write_text("Places365_val_00000002.jpg,1\r\n")
    data = make_data(root, train_list=str(released), train_images=str(root / "val_256"))
    (record,) = data.records("train")
    assert (record.path.name, record.scene) == ("Places365_val_00000002.jpg", 1)
