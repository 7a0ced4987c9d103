"""A small untrained model, tested on gray videos, on any number of processes."""

import numpy as np
import torch
from torch import nn

from devias.data.datamodule import VideoDataModule
from devias.data.records import VideoRecord
from devias.evaluation.protocol import Protocol
from devias.models.matching import SlotMatcher
from devias.structures import UNKNOWN, SlotPrediction
from devias.training.data import RunData
from devias.training.module import ActionSceneModule
from devias.training.optim import OptimizerSettings
from helpers import write_frames
from stub_parts import stub_trainer

NUM_ACTIONS, NUM_SCENES = 3, 4


class Gray(VideoDataModule):
    """Videos `0.mp4`, `1.mp4`, … of a folder, the same in every split; the last has no scene."""

    action_names = ("a", "b", "c")

    def read_split(self, split):
        paths = sorted(self.present(self.root).glob("*.mp4"))
        scenes = [*range(len(paths) - 1), UNKNOWN]
        return [
            VideoRecord(path, n % NUM_ACTIONS, min(s, s % NUM_SCENES), source=f"list.txt:{n + 1}")
            for n, (path, s) in enumerate(zip(paths, scenes, strict=True))
        ]

    def how_to_get(self):
        return "draw them"


class Floating(Gray):
    """Hands clips on as floating point."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        batch.video = batch.video.float() / 255
        return batch


class Linear(nn.Module):
    """Two slots, each a linear map of a clip; its answers change from clip to clip."""

    def __init__(self, seed=1):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(2, 7, 3 * 2 * 8 * 8, generator=generator))

    def forward(self, video):
        clips = (video - video.mean((1, 2, 3, 4), keepdim=True)).flatten(1)
        logits = torch.einsum("bp,kcp->bkc", clips, self.weight)
        return SlotPrediction(logits, logits, NUM_ACTIONS, (1, 1, 1))


def draw_videos(folder, videos=5, broken=()):
    """Videos of noise that differ, of which some are no videos."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(videos):
        path = folder / f"{number}.mp4"
        if number in broken:
            path.write_bytes(b"no video")
        elif not path.exists():
            rng = np.random.default_rng(number)
            write_frames(path, list(rng.integers(0, 256, (5, 10, 14, 3), dtype=np.uint8)))
    return folder


def gray_data(folder, protocol, eval_batch_size=8):
    """The videos of a folder as the data of a run."""
    own = Floating(
        folder, NUM_ACTIONS, NUM_SCENES, clip_length=2, stride=1, image_size=8,
        eval_batch_size=eval_batch_size, num_workers=0, rand_augment=None,
    )  # fmt: skip
    own.splits = ("train", "val", "seen", "unseen")
    own.videos = folder
    return RunData(own, protocol)


def evaluated_run(folder, broken=(), trainer=(), eval_batch_size=8, videos=5, seed=1, **settings):
    """Module and data after a test on `seen` and on `unseen`, the same videos."""
    protocol = Protocol(
        "gray",
        {name: {"split": name, "combination": name} for name in ("seen", "unseen")},
        num_clips=2,
        num_crops=2,
        scene_topk=1,
        **settings,
    )
    data = gray_data(draw_videos(folder, videos, broken), protocol, eval_batch_size)
    module = ActionSceneModule(
        Linear(seed), {}, SlotMatcher(), OptimizerSettings(), 1, data.protocol, data.reference
    )
    stub_trainer(folder, **dict(trainer)).test(module, datamodule=data, verbose=False)
    return module, data
