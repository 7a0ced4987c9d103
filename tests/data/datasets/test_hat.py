import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.dataset import SampleKey, read_frames
from devias.data.datasets.hat import HAT, Folders, read_pairs, read_video_list
from devias.data.plain_pickle import PickleError
from devias.data.records import Background, Composite, VideoRecord
from devias.errors import ConfigError

SMALL = {"clip_length": 2, "stride": 2, "image_size": 8, "num_workers": 0}
FOLDERS = Folders(Path("ori"), Path("seg"), Path("inp"))
NAMES = ["air drumming", "archery"]
VIDEOS = {"air drumming/x_000001_000011": 10, "archery/y_000002_000012": 14}
AUTHORS = {
    "frames": ("ori/{video}", "{:06}.jpg", 1),
    "masks": ("seg/{video}", "{:06}.png", 1),
    "inpainted": ("inp/{video}", "{:06}.jpg", 1),
}
KINETICS = {
    "frames": ("original/videos/{name}", "{:06}.jpg", 1),
    "masks": ("seg/videos/{name}", "{:06}.png", 1),
    "inpainted": ("inpaint/videos/{name}", "{:06}.jpg", 1),
}
UCF = {
    "frames": ("rawframes/{video}", "image_{:05}.jpg", 1),
    "masks": ("seg/{video}", "img_{:05}.png", 0),
    "inpainted": ("inpaint/{video}", "img_{:05}.jpg", 0),
}


def draw(kind: str, video: int, number: int) -> np.ndarray:
    """8×12: plain frames, a person left of the middle in one video and right in the other."""
    if kind != "masks":
        return np.full((8, 12, 3), {"frames": 10, "inpainted": 130}[kind] + 60 * video + 4 * number)
    mask = np.zeros((8, 12, 3))
    mask[2:6, 1 + 5 * video : 5 + 5 * video] = 255
    return mask


def write_layout(root: Path, layout: dict, numbers_as_text: bool = False) -> None:
    """One source: frames, masks, inpainted frames, lists and pairs of both videos."""
    for kind, (folder, name, first) in layout.items():
        for place, (video, count) in enumerate(VIDEOS.items()):
            target = root / folder.format(video=video, name=video.partition("/")[2])
            target.mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(draw(kind, place, number).astype(np.uint8))
                image.save(target / name.format(number + first), quality=100)
    annotations = root.parent / "annotations" / root.name
    (annotations / "far").mkdir(parents=True)
    (annotations / "labels.csv").write_text("0,air drumming\n1,archery\n")
    (annotations / "list.csv").write_text("".join(
        f"{video} {count} {label}\n" for label, (video, count) in enumerate(VIDEOS.items())
    ))  # fmt: skip
    kind = str if numbers_as_text else int
    (one, two), (few, many) = VIDEOS, VIDEOS.values()
    pairs = {one: [two, kind(many), kind(1)], two: [one, kind(few), kind(0)]}
    (annotations / "far" / "actionswap_far_1.pickle").write_bytes(pickle.dumps(pairs))


def make_data(root: Path, **given) -> HAT:
    return HAT(str(root), num_actions=2, num_scenes=5, **SMALL | given)


@pytest.fixture(scope="module", params=["authors", "kinetics", "ucf101"])
def layout(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    source = "ucf101" if request.param == "ucf101" else "kinetics"
    layouts = {"authors": AUTHORS, "kinetics": KINETICS, "ucf101": UCF}
    write_layout(root / source, layouts[request.param], numbers_as_text=source == "ucf101")
    return root, source


def pixels(data: HAT, split: str, index: int, clip: list[int]) -> np.ndarray:
    frames, *_ = read_frames(data.records(split)[index], lambda _: np.array([clip]))
    return frames[0].numpy().astype(int)


def near(image: np.ndarray, value: object) -> bool:
    return bool((abs(image - np.asarray(value)) <= 2).all())  # JPEG


def test_scene_only_shows_the_inpainted_frames(layout):
    root, source = layout
    data = make_data(root)
    assert [(r.action, r.scene) for r in data.records(f"{source}-scene-only")] == [(0, -1), (1, -1)]
    images = pixels(data, f"{source}-scene-only", 1, [0, 13])
    assert near(images[0], 190)
    assert near(images[1], 242)


def test_human_only_shows_the_person_before_a_plain_color(layout):
    root, source = layout
    data = make_data(root)
    assert [record.action for record in data.records(f"{source}-human-only")] == [0, 1]
    (image,) = pixels(data, f"{source}-human-only", 1, [3])
    assert near(image[2:6, 6:10], 82)
    assert (image[:2] == (123, 116, 103)).all()
    assert (image[2:6, :6] == (123, 116, 103)).all()


def test_pairs_put_the_person_where_the_other_was(layout):
    """The same pixels in every layout: frame i of 10 goes with frame round(1.4·i) of 14."""
    root, source = layout
    data = make_data(root)
    assert [record.action for record in data.records(f"{source}-far-1")] == [0, 1]
    for image, frame in zip(pixels(data, f"{source}-far-1", 0, [3, 9]), (3, 9), strict=True):
        expected = np.full((8, 12, 3), 190 + 4 * min(round(1.4 * frame), 13))
        expected[2:6, 6:10] = 10 + 4 * frame
        assert near(image, expected)


def test_the_released_variant_begins_with_the_second_frame(layout):
    root, source = layout
    data = make_data(root, variant="released")
    for image, frame in zip(pixels(data, f"{source}-far-1", 0, [0, 9]), (0, 9), strict=True):
        assert near(image[0, 0], 190 + 4 * int(1 + 1.3 * frame))
    assert near(pixels(data, f"{source}-scene-only", 1, [0]), 190)


@pytest.mark.parametrize("layout", ["authors"], indirect=True)
def test_test_clips_are_placed_at_random_in_the_released_variant_alone(layout):
    root, source = layout
    split = f"{source}-far-1"

    def video(split=split, **given):
        data = make_data(root, **given)
        data.add_eval(split, num_clips=2, num_crops=1)
        return data._eval[split, 2, 1][SampleKey(1)].video

    assert (video() == video(seed=7)).all()
    released = [video(variant="released", seed=seed) for seed in range(4)]
    assert (released[3] == video(variant="released", seed=3)).all()
    assert len({tuple(clip.flatten().tolist()) for clip in released}) > 1
    scene_only = f"{source}-scene-only"
    assert (video(scene_only, variant="released") == video(scene_only)).all()


def test_lists_may_lack_classes_and_classes_may_have_blanks(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("air drumming/x y_1 150 0\r\nz_1 20 1\n")
    records = read_video_list(path, FOLDERS, NAMES, inpainted=True)
    assert [record.path.as_posix() for record in records] == [
        "inp/air drumming/x y_1",
        "inp/archery/z_1",
    ]
    (_, record) = read_video_list(path, FOLDERS, NAMES, inpainted=False)
    assert record == VideoRecord(
        Path("ori/archery/z_1"), 1, source=f"{path}:2", composite=Composite(Path("seg/archery/z_1"))
    )


@given(st.text("ab (!&-", min_size=1).map(str.strip).filter(bool), st.integers(0, 999))
def test_list_rows_are_split_from_the_right(name, frames):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        path.write_text(f"archery/{name} {frames} 1\n")
        (record,) = read_video_list(path, FOLDERS, NAMES, inpainted=True)
    assert record.path == Path("inp/archery") / name


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("archery/v 5", "expected '<class>/<video> <frames> <label>'"),
        ("archery/v x 1", "'x' is not a class number"),
        ("archery/v 5 2", "class 2, but the last one is 1"),
        ("../v 5 1", "expected a path below the folder"),
        ("archery/u 5 1", r"the same video as in .*list\.csv:1"),
    ],
)
def test_list_errors_name_file_and_line(tmp_path, row, why):
    path = tmp_path / "list.csv"
    path.write_text(f"archery/u 5 1\n{row}\n")
    with pytest.raises(AnnotationError, match=rf"list\.csv, line 2: .*{why}"):
        read_video_list(path, FOLDERS, NAMES, inpainted=True)


def write_pairs(folder: Path, pairs: object) -> Path:
    path = folder / "pairs.pickle"
    path.write_bytes(pickle.dumps(pairs))
    return path


@pytest.mark.parametrize("numbers", [(300, 0), ("300", "0")])
def test_numbers_of_pairs_may_be_strings(tmp_path, numbers):
    path = write_pairs(tmp_path, {"archery/v": ["air drumming/w", *numbers]})
    behind = Background(Path("inp/air drumming/w"), Path("seg/air drumming/w"), 300)
    assert read_pairs(path, FOLDERS, NAMES, late=False) == [
        VideoRecord(
            Path("ori/archery/v"),
            1,
            source=f"{path}: 'archery/v'",
            composite=Composite(Path("seg/archery/v"), behind),
        )
    ]


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([], "expected a dict of pairs"),
        ({}, "expected a dict of pairs"),
        ({"archery/v": 3}, r"'archery/v': expected \[background, frames, class\], got 3"),
        ({"archery/v": ["archery/w", 3]}, r"expected \[background, frames, class\]"),
        ({"archery/v": ["w", 3, 0]}, "expected '<class>/<video>', got 'w'"),
        ({"archery/v": ["../w", 3, 0]}, "expected a path below the folder"),
        ({"archery/v": [None, 3, 0]}, "expected '<class>/<video>', got None"),
        ({"archery/v": ["archery/w", -3, 0]}, "'-3' is not a class number"),
        ({"archery/v": ["archery/w", 3.5, 0]}, r"'3\.5' is not a class number"),
        ({"archery/v": ["archery/w", 0, 0]}, "a background without frames"),
        ({"archery/v": ["archery/w", 3, "a"]}, "'a' is not a class number"),
        ({"bowling/v": ["archery/w", 3, 0]}, "there is no class 'bowling'"),
        ({7: ["archery/w", 3, 0]}, "7: expected '<class>/<video>', got 7"),
        ({"/etc/v": ["archery/w", 3, 0]}, "expected a path below the folder"),
    ],
)
def test_pairs_errors_name_file_and_key(tmp_path, pairs, why):
    with pytest.raises(AnnotationError, match=rf"pairs\.pickle: .*{why}"):
        read_pairs(write_pairs(tmp_path, pairs), FOLDERS, NAMES, late=False)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


def test_pairs_run_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PickleError, match=r"pairs\.pickle: not a pickle of plain values"):
        read_pairs(write_pairs(tmp_path, {"archery/v": Evil()}), FOLDERS, NAMES, late=False)
    assert not (tmp_path / "hacked").exists()


def test_what_is_missing_is_named(tmp_path):
    data = make_data(tmp_path)
    with pytest.raises(MissingDataError, match=r"ucf101 does not exist\.\nHAT is at https"):
        data.records("ucf101-far-1")
    write_layout(tmp_path / "ucf101", UCF)
    with pytest.raises(MissingDataError, match=r"close/actionswap_close_2\.pickle does not exist"):
        data.records("ucf101-close-2")
    assert data.action_names == NAMES
    assert HAT(str(tmp_path), num_actions=3, num_scenes=5).action_names == [
        "action 0",
        "action 1",
        "action 2",
    ]


@pytest.mark.parametrize("given", [{"preload": True}, {"pseudo_cache": "cache"}])
def test_what_is_kept_of_whole_videos_does_not_go_with_it(tmp_path, given):
    with pytest.raises(ConfigError, match="composed anew for every clip"):
        make_data(tmp_path, **given)


def test_an_unknown_variant_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="variant is authors or released, not 'mine'"):
        make_data(tmp_path, variant="mine")


ROWS = {
    ("kinetics", "close"): (7860, 7860, 7860),
    ("kinetics", "far"): (5631, 7860, 7860),
    ("kinetics", "rand"): (5631, 7860, 7860),
    ("ucf101", "close"): (1562, 1560, 1556),
    ("ucf101", "far"): (1200, 1243, 1199),
    ("ucf101", "rand"): (1572, 1572, 1572),
}


@pytest.mark.parametrize(("source", "videos"), [("kinetics", 19_877), ("ucf101", 3783)])
def test_released_lists(shared, source, videos):
    annotations = shared / "data" / "annotations" / "devias_filelists" / "hat"
    count = 101 if source == "ucf101" else 400
    names = HAT(".", num_actions=count, num_scenes=365, annotations=str(annotations)).action_names
    assert len(names) == count
    assert names[0] != "action 0"
    folder = annotations / source
    assert len(read_video_list(folder / "list.csv", FOLDERS, names, inpainted=True)) == videos
    for kind in ("close", "far", "rand"):
        for number, rows in enumerate(ROWS[source, kind], start=1):
            path = folder / kind / f"actionswap_{kind}_{number}.pickle"
            assert len(read_pairs(path, FOLDERS, names, late=False)) == rows
