"""`devias labels`: it takes the words of the training, which then finds its labels."""

import pytest
import torch
from hydra.utils import instantiate

from devias.cli.labels import label
from devias.config import compose
from devias.errors import ConfigError
from helpers import TINY_SYNTHETIC, run_parts, tiny_run


def compose_labels(*overrides):
    return compose(*overrides, config_name="labels")


def test_training_finds_the_labels_made_with_the_same_words(tmp_path):
    words = ("masks=fame", "masks.beta=0.3", f"data.pseudo_cache={tmp_path / 'cache'}")
    label(
        compose_labels(*TINY_SYNTHETIC, *words, f"paths.datasets={tmp_path / 'data'}",
                       "labels.splits=[train,val_seen]")
    )  # fmt: skip
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"train", "val_seen"}
    _, data = run_parts(tiny_run(tmp_path, *words))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    # Synthetic clips have 8 frames, tubelets of 2.
    assert batch.frame_masks.shape == (4, 4, 48, 48)
    assert batch.frame_masks.dtype == torch.bool
    seen, unseen = (next(iter(loader)) for loader in data.val_dataloader())
    assert seen.clip_mask.shape == (5, 48, 48)
    assert unseen.clip_mask is None


@pytest.mark.parametrize("experiment", ["synthetic", "ucf101"])
def test_every_experiment_can_be_labeled(experiment):
    config = compose_labels(f"experiment={experiment}")
    assert config.labels.splits == ["train"]
    assert instantiate(config.labels.settings).mask_size == 112


def test_a_folder_must_be_given():
    with pytest.raises(ConfigError, match=r"data\.pseudo_cache=FOLDER"):
        label(compose_labels(*TINY_SYNTHETIC))
