"""A model whose answers stand in its input, loss terms that count, and a Trainer for both."""

from pathlib import Path

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from devias.evaluation.composition import Reference
from devias.evaluation.protocol import Protocol
from devias.losses.base import LossTerm
from devias.models.matching import SlotMatcher
from devias.structures import ClipBatch, SlotPrediction
from devias.training.module import ActionSceneModule
from devias.training.optim import OptimizerSettings

NUM_ACTIONS, NUM_SCENES = 3, 7


class Echo(nn.Module):
    """Two slots; pixels (0, 0) and (0, 1) of a clip say which action and scene they answer.

    After the answer, lower classes are a little more probable than higher ones.
    """

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, video):
        answers = video[:, 0, 0, 0, :2].long()
        classes = NUM_ACTIONS + NUM_SCENES
        one_hot = torch.eye(classes)
        slots = torch.stack([one_hot[answers[:, 0]], one_hot[NUM_ACTIONS + answers[:, 1]]], 1)
        logits = self.scale * slots - 0.01 * torch.arange(classes)
        return SlotPrediction(logits, logits, NUM_ACTIONS, (1, 1, 1))

    def no_weight_decay(self):
        return set()

    def group_matcher(self, coarse=False):
        return {"stem": "^nothing"}


class Constant(LossTerm):
    """A fixed value, times the model's scale."""

    def __init__(self, value, weight=1.0, name="constant"):
        super().__init__(weight, name)
        self.value = value
        self.seen = []

    def __call__(self, prediction, roles, batch):
        self.seen.append(roles)
        return self.value * prediction.logits.amax() / 2  # Echo's scale is 2 at first


class Counting(Constant):
    """Uses a hook of the Trainer and keeps state in the checkpoint, as any callback may."""

    batches = 0

    def on_train_batch_end(self, *args):
        self.batches += 1

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state_dict):
        self.batches = state_dict["batches"]


class Poison(Constant):
    """Not a number from the given call on."""

    def __init__(self, first, name):
        super().__init__(1.0, name=name)
        self.first = first

    def __call__(self, prediction, roles, batch):
        value = super().__call__(prediction, roles, batch)
        return value * torch.nan if len(self.seen) >= self.first else value


def clips(answers, labels):
    """A batch of clips that are answered by `answers` and labeled `labels`, pairs of
    (action, scene)."""
    video = torch.zeros(len(answers), 3, 2, 2, 2)
    video[:, 0, 0, 0, :2] = torch.tensor(answers, dtype=torch.float)
    action, scene = torch.tensor(labels).unbind(1)
    return ClipBatch(video, action, scene, torch.arange(len(answers)))


def loader(*batches):
    return DataLoader(list(batches), batch_size=None)


def protocol(validation=("val",), sets=("test",), **settings):
    """Sets by name; those whose names hold `unseen` are of unseen combinations."""

    def eval_sets(names):
        return {
            name: {"split": name, "combination": "unseen" if "unseen" in name else "seen"}
            for name in names
        }

    settings = {"scene_topk": 1, **settings}
    return Protocol("stub", eval_sets(sets), eval_sets(validation), **settings)


def stub_module(*terms, model=None, usual_actions=None, **settings):
    return ActionSceneModule(
        model=model or Echo(),
        losses={term.name: term for term in terms},
        matcher=SlotMatcher(),
        optimizer=OptimizerSettings(base_lr=256.0, warmup_epochs=0),
        global_batch=1,
        protocol=protocol(**settings),
        reference=lambda s: Reference((usual_actions or {}).get(s.name)),
    )


def stub_trainer(folder: Path, *callbacks, **settings):
    return L.Trainer(
        **{
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "num_sanity_val_steps": 0,
            "max_epochs": 1,
            "default_root_dir": folder,
            **settings,
        },
        callbacks=list(callbacks),
    )
