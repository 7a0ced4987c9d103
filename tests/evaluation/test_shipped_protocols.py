"""The protocols of the paper's tables as they are shipped: which sets make which number."""

import os

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from devias.config import compose
from devias.config.instantiate import instantiate
from devias.labels.on_device import BatchStage
from devias.labels.scene_teacher import SceneTeacher
from devias.training.run import build_data

SCUBA = {f"scuba_{version}": 0.1 * n for n, version in enumerate(("places", "vqgan", "sinusoidal"))}
FAR = {f"hat_far_{n}": 0.2 * n for n in (1, 2, 3)}
RANDOM = {f"hat_random_{n}": 0.3 * n for n in (1, 2, 3)}


def results(protocol) -> dict:
    """Some result of every set, for its tasks."""
    scenes = {**FAR, **RANDOM, "hat_scene_only": 0.9}
    values = {}
    for s in protocol.sets:
        metrics = {"action_top1": SCUBA.get(s.name, 0.8), "scene_top5": scenes.get(s.name, 0.7)}
        values[s.name] = {k: v for k, v in metrics.items() if k.split("_")[0] in s.tasks}
    return values


@pytest.mark.parametrize("name", ["ucf101", "kinetics400"])
def test_which_sets_make_the_headline(name):
    protocol = instantiate(compose(f"data={name}", f"protocol={name}").protocol)
    summary = protocol.summarize(results(protocol))
    assert summary["seen/action_top1"] == 0.8
    assert summary["unseen/action_top1"] == pytest.approx(0.1)
    assert summary["unseen/scene_top5"] == pytest.approx((0.9 + 0.4 + 0.6) / 3)
    assert summary["scufo_vqgan/action_top1"] == 0.8
    assert summary["hat_close_2/scene_top5"] == 0.7
    assert summary["hat_human_only/action_top1"] == 0.8
    assert (protocol.num_clips, protocol.num_crops) == (2, 3)


def test_the_ablation_has_one_set_a_task():
    protocol = instantiate(compose("data=ucf101", "protocol=ucf101_ablation").protocol)
    summary = protocol.summarize(results(protocol))
    assert summary["unseen/action_top1"] == 0.0
    assert summary["unseen/scene_top5"] == 0.9
    assert len(protocol.sets) == 3


@pytest.mark.parametrize(("compat", "views"), [("paper", (2, 3)), ("official", (1, 1))])
def test_compat_chooses_views_of_hvu_and_clips_of_hat(compat, views):
    protocol = instantiate(compose("data=hvu", "protocol=hvu", f"compat={compat}").protocol)
    assert (protocol.num_clips, protocol.num_crops) == views
    config = compose("data=ucf101", "protocol=ucf101", f"compat={compat}")
    hat = instantiate(config.eval_data.hat)
    assert hat.variant == {"paper": "authors", "official": "released"}[compat]
    assert (hat.num_actions, hat.num_scenes) == (101, 365)


@pytest.mark.parametrize("name", ["ucf101", "kinetics400"])
def test_every_set_is_a_split_of_its_data(name):
    config = compose(f"data={name}", f"protocol={name}")
    options = {None: config.data, **config.eval_data}
    data = {key: instantiate(option) for key, option in options.items()}
    protocol = instantiate(config.protocol)
    for s in (*protocol.sets, *protocol.validation):
        assert s.split in data[s.data].splits
    assert {s.data for s in protocol.sets} == data.keys()


class Brightness(torch.nn.Module):
    """A scene model whose classes are shades of gray."""

    def forward(self, images):
        shade = (images.mean((1, 2, 3)) * 10).long()
        return torch.nn.functional.one_hot(shade, 365).float() * 50


def test_what_is_there_is_evaluated_and_scenes_come_from_the_clips_shown(tmp_path):
    """Only scene-only frames lie on the machine: 16 sets are named as absent."""
    for number in range(3):
        folder = tmp_path / "hat" / "ucf101" / "inp" / "Archery" / f"v{number}"
        folder.mkdir(parents=True)
        for frame in range(4):
            gray = np.full((32, 40, 3), 40 + 80 * number, np.uint8)
            Image.fromarray(gray).save(folder / f"img_{frame:05}.png")
    lists = tmp_path / "hat" / "annotations" / "ucf101"
    os.makedirs(lists)
    (lists / "labels.csv").write_text("0,Archery\n")
    (lists / "list.csv").write_text("".join(f"Archery/v{n} 4 0\n" for n in range(3)))
    config = compose(
        "data=ucf101",
        "protocol=ucf101",
        f"paths.datasets={tmp_path}",
        *("data.image_size=32", "data.clip_length=2", "data.num_workers=0"),
    )
    OmegaConf.resolve(config.eval_data)
    stage = BatchStage(scene_teacher=SceneTeacher(Brightness(), True, [0.0] * 3, [1.0] * 3))
    data = build_data(config, stage, batch_size=1)
    assert [s.name for s in data.protocol.sets] == ["seen", "hat_scene_only"]
    assert len(data.protocol.absent) == 16
    assert "StillMix" in data.protocol.absent["scufo_places"]
    summary = data.protocol.summarize(
        {"seen": {"action_top1": 0.5, "scene_top5": 0.6}, "hat_scene_only": {"scene_top5": 0.7}}
    )
    assert summary == {
        "seen/action_top1": 0.5,
        "seen/scene_top5": 0.6,
        "hat_scene_only/scene_top5": 0.7,
    }
    hat = data.others["hat"]
    hat.add_eval("ucf101-scene-only", 2, 3)
    (batch,) = hat.eval_dataloader("ucf101-scene-only", 2, 3)
    assert batch.scene.tolist() == [-1] * 3
    labeled = hat.on_after_batch_transfer(batch, 0)
    assert labeled.scene.tolist() == [int((40 + 80 * n) / 25.5) for n in range(3)]
