"""`devias features`: any data through a model built as it was trained."""

import json

import numpy as np
import pytest
import torch

from devias import cli
from devias.cli.command import FULL_ERROR
from devias.data.dataset import EvalDataset, SampleKey, collate
from devias.data.transforms import EvalTransform
from devias.models.matching import SlotMatcher
from devias.parquet import read_parquet, to_numpy
from devias.training.trained import load_trained
from helpers import save_untrained, tiny_run, write_frames


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The checkpoint of an untrained DEVIAS of eight actions, and its module."""
    root = tmp_path_factory.mktemp("run")
    config = tiny_run(root)
    path = root / "run" / "checkpoints" / "best.ckpt"
    return path, save_untrained(config, path)


@pytest.fixture(scope="module")
def own_videos(tmp_path_factory):
    """Three classes of two videos each, of which one cannot be read."""
    root = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        for number in range(2):
            path = root / "test" / name / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_frames(path, list(generator.integers(0, 255, (20, 48, 64, 3), np.uint8)))
    (root / "test" / "b" / "1.mp4").write_bytes(b"torn")
    return root


def test_features_are_the_slots_of_the_central_clip(run, tmp_path):
    checkpoint, module = run
    output = tmp_path / "seen.parquet"
    cli.main(["features", f"checkpoint={checkpoint}", "split=test_seen", f"output={output}"])
    table = read_parquet(output)
    assert len(table) == 5
    assert set(table["scene"].to_pylist()) <= set(range(8))
    told = json.loads(table.schema.metadata[b"devias"])
    assert (told["split"], told["unreadable"]) == ("test_seen", {})

    trained = load_trained(checkpoint)
    data = trained.data()
    data.add_eval("test_seen")
    batch = trained.stage(data, ["test_seen"]).eval()(next(iter(data.eval_dataloader("test_seen"))))
    with torch.no_grad():
        prediction = module.eval().model(batch.video)
    roles = SlotMatcher().infer(prediction)
    for name, role in (("action", roles.action), ("scene", roles.scene)):
        expected = prediction.slots[torch.arange(5), role]
        np.testing.assert_allclose(
            to_numpy(table, f"{name}_feature"), expected.numpy(), rtol=1e-4, atol=1e-5
        )
    assert [p.name for p in tmp_path.iterdir()] == ["seen.parquet"]


def test_other_data_of_other_classes_go_through_the_same_model(
    run, own_videos, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv(FULL_ERROR, raising=False)
    output = tmp_path / "own.npz"
    words = ["data=folder", f"data.root={own_videos}", "data.num_workers=0", f"output={output}"]
    with pytest.raises(SystemExit) as caught:
        cli.main(["features", f"checkpoint={run[0]}", *words, "settings.dtype=float16"])
    assert caught.value.code == 1  # of the video that is torn
    assert "lacks 1 of 6 videos" in capsys.readouterr().out
    with np.load(output, allow_pickle=False) as archive:
        assert archive["id"].tolist() == [
            f"test/{n}.mp4" for n in ("a/0", "a/1", "b/0", "c/0", "c/1")
        ]
        assert archive["action"].tolist() == [0, 0, 1, 2, 2]
        assert archive["scene"].tolist() == [-1] * 5
        assert archive["scene_feature"].shape == (5, 24)
        assert archive["scene_feature"].dtype == np.float16
    with pytest.raises(SystemExit):
        cli.main(["features", f"checkpoint={run[0]}", *words])
    assert "overwrite=true replaces it" in capsys.readouterr().out


def test_scenes_that_the_data_lacks_are_those_of_the_scene_model(run, own_videos, tmp_path):
    teacher = tmp_path / "scene.ckpt"
    save_untrained(tiny_run(tmp_path, "model=scene_vit"), teacher)
    words = [
        *(
            "data=folder",
            f"data.root={own_videos}",
            "scene_teacher=places365",
            "data.num_workers=0",
        ),
        *(f"scene_teacher.model.path={teacher}", "scene_teacher.model.num_scenes=8"),
    ]
    output = tmp_path / "own.parquet"
    with pytest.raises(SystemExit):
        cli.main(["features", f"checkpoint={run[0]}", *words, f"output={output}"])
    table = read_parquet(output)

    trained = load_trained(run[0], words)
    data = trained.data()
    readable = [r for r in data.records("test") if r.path.stat().st_size > 10]
    clips = [EvalDataset([r], EvalTransform(48), 8, 2)[SampleKey(0)] for r in readable]
    scenes = trained.stage(data, ["test"]).eval()(collate(clips)).scene.tolist()
    assert table["scene"].to_pylist() == scenes
