"""From images of scenes to a frozen model that labels clips."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from devias.cli.train import train
from devias.config import compose
from devias.structures import UNKNOWN, ClipBatch

COLORS = [(220, 40, 40), (40, 60, 220), (50, 200, 60)]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A scene model trained on images of three colors, in the layout of Places365."""
    folder = tmp_path_factory.mktemp("scenes")
    noise = np.random.default_rng(0)
    rows = []
    for number in range(24):
        path = folder / "places365" / "data_256" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.array(COLORS[number % 3]) + noise.normal(0, 20, (24, 32, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        rows.append(f"{number}.png {number % 3}\n")
    root = folder / "places365"
    (root / "train.txt").write_text("".join(rows))
    (root / "categories_places365.txt").write_text("/r/red 0\n/b/blue 1\n/g/green 2\n")
    config = compose(
        "experiment=scene_model",
        "logger=csv",
        f"paths.datasets={folder}",
        f"paths.run_dir={folder / 'run'}",
        f"data.train_list={root / 'train.txt'}",
        f"data.val_list={root / 'train.txt'}",
        f"data.val_images={root / 'data_256'}",
        "data.num_scenes=3",
        "data.clip_length=4",
        "data.image_size=16",
        "data.num_workers=0",
        "data.rand_augment=null",
        "backbone.weights=null",
        "backbone.embed_dim=24",
        "backbone.depth=1",
        "backbone.num_heads=2",
        "backbone.patch_size=8",
        "backbone.drop_path_rate=0",
        "global_batch=8",
        "optim.base_lr=0.3",
        "optim.warmup_epochs=0",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=12",
        "trainer.enable_progress_bar=false",
        "protocol.scene_topk=1",
    )
    metrics = train(config)
    assert metrics["seen/scene_top1"] > 0.9
    assert not any(name.startswith("seen/action") for name in metrics)
    return folder / "run"


def colored_clips() -> torch.Tensor:
    """A clip of each color, `[3, 3, 4, 16, 16]` uint8."""
    colors = torch.tensor(COLORS, dtype=torch.uint8)
    return colors[:, :, None, None, None].expand(-1, -1, 4, 16, 16).contiguous()


def test_the_trained_model_labels_clips(run_folder):
    config = compose(
        "data=ucf101",
        "scene_teacher=places365",
        f"scene_teacher.model.path={run_folder / 'checkpoints' / 'best.ckpt'}",
        "scene_teacher.model.num_scenes=3",
        "masks=none",
        "augment=none",
    )
    stage = instantiate(config.batch_stage)
    unknown = torch.full((3,), UNKNOWN)
    batch = ClipBatch(colored_clips(), action=unknown, scene=unknown, index=torch.arange(3))
    labeled = stage(batch)
    assert labeled.scene.tolist() == [0, 1, 2]
    assert labeled.scene_logits.shape == (3, 3)
    assert not any(parameter.requires_grad for parameter in stage.parameters())
