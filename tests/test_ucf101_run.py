"""`experiment=ucf101` from the official files to the result, and what it says when some lack."""

import shutil

import pytest

from devias.cli.train import train
from devias.config import compose
from devias.data.dataset import TooManyBadVideos
from devias.models.baselines import TokenViT
from devias.models.heads import UnifiedHead
from devias.reporting.results import RunResult
from devias.training.checkpoints import load_checkpoint
from devias.training.preflight import MissingError, preflight
from devias.weights.assign import video_vit
from devias.weights.write import save_weights

SIZES = {"image_size": 32, "num_frames": 4}
CLIPS = {  # the folder's class and its number in classInd.txt
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi": 1,
    "BaseballPitch/v_BaseballPitch_g01_c01.avi": 7,
    "Basketball/v_Basketball_g01_c01.avi": 8,
    "CricketShot/v_CricketShot_g04_c01.mp4": 24,
}


def configured(folder, *overrides):
    return compose(
        "experiment=ucf101",
        f"paths.run_dir={folder / 'run'}",
        f"paths.weights={folder / 'weights'}",
        f"data.root={folder}",
        "logger=csv",
        "global_batch=2",
        "data.image_size=32",
        "data.clip_length=4",
        "data.num_workers=0",
        "backbone.embed_dim=24",
        "backbone.depth=2",
        "backbone.num_heads=2",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=1",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        *overrides,
    )


def write_lists(folder, classes):
    """`trainlist01.txt` and `testlist01.txt` of the four clips, in the official format."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text(classes)
    rows = [f"{name} {number}" for name, number in CLIPS.items()]
    (lists / "trainlist01.txt").write_text("\r\n".join(rows) + "\r\n", newline="")
    (lists / "testlist01.txt").write_text("\r\n".join(CLIPS) + "\r\n", newline="")


def write_scene_model(folder):
    vit = video_vit(**SIZES, patch_size=16, embed_dim=12, depth=1, num_heads=2, num_tokens=1)
    save_weights(TokenViT(vit, UnifiedHead(12, 0, 365)), folder / "weights" / "scene_model.pth")


@pytest.mark.parametrize("compat", ["paper", "official"])
def test_training_on_real_clips_end_to_end(shared, tmp_path, compat):
    write_lists(tmp_path, (shared / "data/annotations/ucf101/classInd.txt").read_text())
    write_scene_model(tmp_path)
    videos = shared / "data" / "videos" / "ucf101"
    overrides = (f"compat={compat}", f"data.videos={videos}", "backbone.weights=null")
    config = configured(tmp_path, *overrides)
    metrics = train(config)
    assert {"seen/action_top1", "seen/scene_top5", "seen/slot_collision"} <= metrics.keys()
    assert metrics["seen/action_top1"] * 4 in range(5)  # four videos, each counted once
    result = RunResult.load(tmp_path / "run" / "result.json")
    assert (result.experiment, result.data, result.metrics) == ("ucf101", "ucf101", metrics)
    last = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in last["state_dict"].values())
    assert (tmp_path / "run" / "figures" / "clips.png").exists()


def everything(folder):
    """All that the experiment needs, in small."""
    names = {number: name.partition("/")[0] for name, number in CLIPS.items()}
    classes = [f"{i} {names.get(i, f'Class{i}')}\n" for i in range(1, 102)]
    write_lists(folder, "".join(classes))
    write_scene_model(folder)
    save_weights(
        video_vit(**SIZES, patch_size=16, embed_dim=24, depth=2, num_heads=2),
        folder / "weights" / "videomae_ucf101_vit_b.pth",
    )
    for name in CLIPS:
        (folder / "UCF-101" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "UCF-101" / name).touch()
    return folder


@pytest.mark.parametrize("lacking", ["UCF-101", "ucfTrainTestlist"])
def test_missing_data_say_what_to_fetch_from_where_and_where_to_put_it(tmp_path, lacking):
    shutil.rmtree(everything(tmp_path) / lacking)
    with pytest.raises(MissingError) as caught:
        train(configured(tmp_path))
    message = str(caught.value)
    assert message.startswith("1 thing is missing for this run:\n1. data: ")
    first = f"{tmp_path}/UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"
    if lacking == "UCF-101":
        assert "No video of the train split is at its place" in message
        assert "No video of the test split" in message
        assert "trainlist01.txt:1" in message
    else:
        assert f"{tmp_path}/ucfTrainTestlist/trainlist01.txt does not exist" in message
    assert "https://www.crcv.ucf.edu/research/data-sets/ucf101/" in message
    assert f"unpack UCF101.rar so that {first} exists" in message
    assert f"so that {tmp_path}/ucfTrainTestlist/trainlist01.txt exists" in message
    assert "data.root" in message


@pytest.mark.parametrize(
    ("lacking", "source"),
    [
        ("videomae_ucf101_vit_b.pth", "https://github.com/MCG-NJU/VideoMAE/blob/main/MODEL_ZOO.md"),
        ("scene_model.pth", "https://github.com/KHU-VLL/DEVIAS"),
    ],
)
def test_missing_weights_say_what_to_fetch_from_where_and_where_to_put_it(
    tmp_path, lacking, source
):
    path = everything(tmp_path) / "weights" / lacking
    path.unlink()
    with pytest.raises(MissingError) as caught:
        train(configured(tmp_path))
    message = str(caught.value)
    key = {"scene_model.pth": "scene_teacher.model.path"}.get(lacking, "backbone.weights")
    assert f"1. {key}: {path} does not exist." in message
    assert source in message
    assert "download the file to this place, or name in the configuration" in message


def test_all_that_is_missing_is_listed_at_once_and_leaves_nothing(tmp_path):
    config = configured(tmp_path)
    with pytest.raises(MissingError) as caught:
        train(config)
    first, *things = str(caught.value).splitlines()
    assert first == "3 things are missing for this run:"
    numbered = [line for line in things if line[0].isdigit()]
    assert [line.split(": ")[0] for line in numbered] == [
        "1. backbone.weights", "2. scene_teacher.model.path", "3. data",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_check_starts_nothing(tmp_path):
    everything(tmp_path)
    config = configured(tmp_path, "check=true")
    preflight(config)
    assert train(config) == {}
    assert not (tmp_path / "run").exists()


def test_unreadable_videos_end_the_run_with_a_name(tmp_path):
    config = configured(everything(tmp_path))  # all videos are empty files
    with pytest.raises(TooManyBadVideos, match=r"1 of 4 training videos .*_c01\.(avi|mp4)"):
        train(config)
