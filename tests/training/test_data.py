"""The data of a run: what several data modules make together under one protocol."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from devias.data.datamodule import MissingDataError, VideoDataModule
from devias.data.records import VideoRecord
from devias.errors import ConfigError
from devias.evaluation.protocol import Protocol
from devias.training.data import RunData
from helpers import write_frames
from stub_parts import Constant, stub_module, stub_trainer

SMALL = {
    "clip_length": 2,
    "stride": 1,
    "image_size": 8,
    "batch_size": 2,
    "eval_batch_size": 4,
    "num_workers": 0,
    "rand_augment": None,
}


class Numbered(VideoDataModule):
    """Videos `0.mp4`, `1.mp4`, … of a folder, the same in every split."""

    action_names = ("a", "b")

    def read_split(self, split):
        paths = sorted(self.present(self.root).glob("*.mp4"))
        return [VideoRecord(path, number % 2) for number, path in enumerate(paths)]

    def how_to_get(self):
        return "draw them"


class Marked(Numbered):
    """Marks its batches, as a data module with ways of its own."""

    bias_aligned_actions = (1, 0)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return replace(batch, scene=torch.full_like(batch.scene, 7))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two folders, of three and of five videos."""
    root = tmp_path_factory.mktemp("data")
    for name, count in (("own", 3), ("other", 5)):
        (root / name).mkdir()
        for number in range(count):
            frames = np.full((4, 10, 12, 3), 40 * number, np.uint8)
            write_frames(root / name / f"{number}.mp4", list(frames))
    return root


def run_data(root, **others) -> RunData:
    protocol = Protocol(
        "joined",
        sets={
            "seen": {"split": "test", "combination": "seen"},
            "unseen": {"data": "marked", "split": "test", "combination": "unseen"},
            "gone": {"data": "gone", "split": "test", "combination": "unseen", "tasks": ["action"]},
        },
        validation={"val": {"split": "val", "combination": "seen"}},
        num_clips=1,
        num_crops=2,
    )
    found = {
        "marked": Marked(root / "other", 2, 0, **SMALL),
        "gone": Numbered(root / "nowhere", 2, 0, **SMALL),
    }
    return RunData(Numbered(root / "own", 2, 0, **SMALL), protocol, {**found, **others})


def test_sets_that_are_absent_are_named_and_the_others_loaded_in_order(root):
    data = run_data(root)
    assert [s.name for s in data.protocol.sets] == ["seen", "unseen"]
    assert "nowhere does not exist.\ndraw them" in data.protocol.absent["gone"]
    data.setup("test")
    loaders = data.test_dataloader()
    assert [len(loader.dataset) for loader in loaders] == [3, 5]
    batch = next(iter(loaders[1]))
    assert (batch.num_views, len(batch)) == (2, 2)
    assert [data.reference(s).usual_actions for s in data.protocol.sets] == [None, (1, 0)]


def test_pairs_are_of_the_pseudo_labels_where_the_list_names_no_scenes(root, monkeypatch):
    data = run_data(root)
    assert data.training_pairs is None
    scenes = {"train": [0, 2, 2], "test": [0, 0, 0]}
    monkeypatch.setattr(Numbered, "pseudo_scenes", lambda self, split: scenes[split])
    data = run_data(root)
    data.train.num_scenes = 3
    assert data.training_pairs.counts.tolist() == [[1, 0, 1], [0, 0, 1]]

    def refuse(self, split):
        raise ConfigError("labels of other settings")

    monkeypatch.setattr(Numbered, "pseudo_scenes", refuse)
    assert run_data(root).training_pairs is None


def test_its_own_data_must_be_there(root):
    own = Numbered(root / "nowhere", 2, 0, **SMALL)
    data = RunData(own, Protocol("own", {"seen": {"split": "test"}}))
    with pytest.raises(MissingDataError, match=r"nowhere does not exist\.\ndraw them"):
        data.setup("test")


def test_a_batch_goes_through_the_data_module_it_comes_from(root, tmp_path):
    seen = {"fit": [], "test": []}
    module = stub_module(Constant(1.0), sets=["seen", "unseen"])
    module.training_step = lambda batch, batch_idx: seen["fit"].append(batch.scene.tolist())
    module.validation_step = lambda batch, batch_idx, dataloader_idx=0: None
    module.test_step = lambda batch, batch_idx, dataloader_idx=0: seen["test"].append(
        (dataloader_idx, batch.scene.tolist())
    )
    module.on_validation_epoch_end = module.on_test_epoch_end = lambda: None
    data = run_data(root)
    trainer = stub_trainer(tmp_path)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    assert seen["fit"] == [[-1, -1]]
    assert {place: set(scenes) for place, scenes in seen["test"]} == {0: {-1}, 1: {7}}


def test_class_counts_are_checked_before_training(root):
    own = Numbered(root / "own", 3, 0, **SMALL)
    data = RunData(own, Protocol("own", {"seen": {"split": "test"}}))
    with pytest.raises(ConfigError, match=r"name 2 action classes, but data\.num_actions=3"):
        data.setup("fit")


def test_an_unknown_split_is_refused_with_those_that_there_are(root):
    with pytest.raises(ConfigError, match="Numbered has the splits train, val, test, not 'tset'"):
        Numbered(root / "own", 2, 0, **SMALL).records("tset")
