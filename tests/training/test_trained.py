"""A trained model before data that it was not trained on."""

import numpy as np
import pytest
import torch

from devias.errors import ConfigError
from devias.training.checkpoints import CheckpointError
from devias.training.trained import forget_cluster, load_trained
from devias.weights.write import save_weights
from helpers import save_untrained, tiny_run, write_frames


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a DEVIAS of eight actions, which started from weights that are no more."""
    root = tmp_path_factory.mktemp("run")
    path = root / "best.ckpt"
    config = tiny_run(root)
    save_untrained(config, path)
    content = torch.load(path, weights_only=True)
    content["devias_config"] = content["devias_config"].replace("weights: null", "weights: gone")
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def own_videos(tmp_path_factory):
    """Words for a user's own two videos."""
    root = tmp_path_factory.mktemp("own")
    for name in ("a", "b"):
        (root / "test" / name).mkdir(parents=True)
        write_frames(root / "test" / name / "1.mp4", [np.zeros((16, 16, 3), np.uint8)] * 3)
    return ["data=folder", f"data.root={root}"]


def test_the_data_are_cut_into_clips_as_in_training_unless_that_is_given(checkpoint, own_videos):
    trained = load_trained(checkpoint, own_videos)
    data = trained.data()
    assert (data.clip_length, data.stride, data.image_size) == (8, 2, 48)
    assert trained.model.head.num_actions == 8
    assert not trained.model.training
    assert load_trained(checkpoint, [*own_videos, "data.stride=1"]).data().stride == 1
    with pytest.raises(ConfigError, match="takes clips of 8 frames of 48×48"):
        load_trained(checkpoint, [*own_videos, "data.clip_length=16"])


def test_scenes_are_labeled_only_where_the_data_lacks_them(checkpoint, own_videos):
    teacher = ["scene_teacher=places365", "scene_teacher.model.path=gone.pth"]
    labeled = load_trained(checkpoint, teacher)
    assert labeled.stage(labeled.data(), ["val_seen"]).scene_teacher is None
    unlabeled = load_trained(checkpoint, [*own_videos, *teacher])
    with pytest.raises(FileNotFoundError, match=r"gone\.pth does not exist"):
        unlabeled.stage(unlabeled.data(), ["test"])


def test_weights_of_another_model_are_refused(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"] = {"model.head.fc.weight": torch.zeros(2, 24)}
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt holds another model's weights: Missing"):
        load_trained(tmp_path / "x.ckpt")


def test_weights_without_a_configuration_are_looked_through_as_they_are(own_videos, tmp_path):
    module = save_untrained(tiny_run(tmp_path, "matcher.assignment=fixed"), tmp_path / "x.ckpt")
    save_weights(module.model, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError):
        load_trained(tmp_path / "x.safetensors", own_videos)
    trained = load_trained(tmp_path / "x.safetensors", own_videos, num_actions=8)
    assert trained.matcher.assignment == "hungarian"
    data = trained.data()
    assert (data.clip_length, data.stride, data.image_size) == (8, 4, 48)
    video = torch.randn(1, 3, 8, 48, 48)
    expected = module.eval().model(video).slots
    torch.testing.assert_close(trained.model(video).slots, expected)
    tokens = save_untrained(tiny_run(tmp_path, "model=two_token"), tmp_path / "y.ckpt").model
    save_weights(tokens, tmp_path / "y.safetensors")
    trained = load_trained(tmp_path / "y.safetensors", own_videos, num_scenes=8)
    assert trained.matcher.assignment == "fixed"


def test_a_model_that_was_trained_on_a_cluster_is_looked_at_here(tmp_path):
    config = tiny_run(tmp_path, "cluster=slurm", "cluster.nodes=4", "cluster.tasks_per_node=8")
    assert (config.trainer.num_nodes, config.trainer.devices) == (4, 8)
    forget_cluster(config, ["data.root=/x", "trainer.devices=2"])
    assert (config.trainer.num_nodes, config.trainer.devices) == (1, 8)  # as is given
    forget_cluster(config, [])
    assert (config.trainer.num_nodes, config.trainer.devices) == (1, 1)
    elsewhere = tiny_run(tmp_path, "trainer.devices=2")
    forget_cluster(elsewhere, [])
    assert elsewhere.trainer.devices == 2
