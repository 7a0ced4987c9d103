"""k-nearest-neighbor probes of the slots, with normal and crossed features (paper, Table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from devias.evaluation.feature_files import FeatureChunks
from devias.evaluation.intervals import Interval, wilson
from devias.structures import UNKNOWN

Task = Literal["action", "scene"]
Vote = Literal["weighted", "plain"]
"""Each of the k nearest neighbors votes for its label with weight exp(similarity / temperature), or
with weight 1; a plain tie is broken by the weights."""


class Probe(NamedTuple):
    """Which slots are looked up among which, and for which label."""

    bank: Task
    query: Task
    label: Task


PROBES = {
    "A-A": Probe("action", "action", "action"),
    "S-S": Probe("scene", "scene", "scene"),
    "A-S": Probe("action", "action", "scene"),
    "S-A": Probe("scene", "scene", "action"),
    "S in A": Probe("action", "scene", "action"),
    "A in S": Probe("scene", "action", "scene"),
}
"""Of feature → label: the first two should be high; A-S and S-A, what a slot gives away of the
other label, low. In the last two one kind of slot is looked up among the other, for the label of
the bank. Low is good there as well, but the slot-diversity loss alone can bring it about."""


@dataclass
class SlotFeatures:
    """The two slots of M videos and their labels."""

    action_slot: Tensor
    """`[M, D]`."""
    scene_slot: Tensor
    """`[M, D]`."""
    action: Tensor
    """`[M]` int64, or `UNKNOWN`."""
    scene: Tensor
    """`[M]` int64, or `UNKNOWN`."""
    tasks: frozenset[Task] = frozenset({"action", "scene"})
    """What the model was trained for."""

    @classmethod
    def read(cls, chunks: FeatureChunks) -> SlotFeatures:
        """Those of complete chunks."""
        parts = [part.columns for part in chunks.read()]

        def joined(name: str) -> Tensor:
            return torch.from_numpy(np.concatenate([part[name] for part in parts]))

        tasks: tuple[Task, ...] = ("action", "scene")
        return cls(
            joined("action_feature"),
            joined("scene_feature"),
            joined("action"),
            joined("scene"),
            frozenset(task for task in tasks if joined(f"{task}_confidence").isfinite().all()),
        )

    def slot(self, task: Task) -> Tensor:
        """`[M, D]`."""
        return self.action_slot if task == "action" else self.scene_slot

    def label(self, task: Task) -> Tensor:
        """`[M]`."""
        return self.action if task == "action" else self.scene


@dataclass(frozen=True)
class Share:
    """How many of some videos were answered rightly."""

    hits: int
    videos: int

    @property
    def accuracy(self) -> float:
        """As a fraction."""
        return self.hits / self.videos

    @property
    def interval(self) -> Interval:
        """Wilson's, of 95 %."""
        return wilson(self.hits, self.videos)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        low, high = self.interval
        return {"accuracy": self.accuracy, "low": low, "high": high, "videos": self.videos}


Row = dict[str, dict[Vote, Share]]
"""By probe and vote; probes for which there are too few labels are absent."""


def probe_slots(
    bank: SlotFeatures,
    queries: SlotFeatures,
    k: int = 10,
    temperature: float = 0.07,
    seed: int = 0,
    device: torch.device | str = "cpu",
    probes: Mapping[str, Probe] = PROBES,
) -> tuple[Row, Row]:
    """Look the queries up in the bank under cosine similarity, and tell labels by k neighbors.

    Videos of unknown label are left out of bank and queries. A probe is absent where less than k
    labels of the bank or none of the queries are known.

    Args:
        bank: of the training videos.
        queries: of the test videos.
        k: neighbors.
        temperature: of the weighted votes.
        seed: of the shuffling.
        device: where to compute.
        probes: which.

    Returns:
        What the slots tell; and chance, measured: the same with the bank's labels shuffled, so that
        neighbors say nothing but how frequent labels are.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    told: Row = {}
    chance: Row = {}
    searches: dict[Any, tuple[Tensor, Tensor]] = {}
    for name, probe in probes.items():
        stored, asked = bank.label(probe.label), queries.label(probe.label)
        kept, meant = stored != UNKNOWN, asked != UNKNOWN
        if kept.sum() < k or not meant.any():
            continue
        # Both labels of a pair of slots share a search, if they are known of the same videos.
        key = (probe.bank, probe.query, kept.numpy().tobytes(), meant.numpy().tobytes())
        if key not in searches:
            searches[key] = nearest(
                bank.slot(probe.bank)[kept].to(device),
                queries.slot(probe.query)[meant].to(device),
                k,
            )
        similarity, index = searches[key]
        labels, truth = stored[kept].to(device), asked[meant].to(device)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        for row, voters in ((told, labels), (chance, labels[order.to(device)])):
            predicted = votes(similarity, voters[index], temperature)
            row[name] = {
                vote: Share(int((answer == truth).sum()), len(truth))
                for vote, answer in predicted.items()
            }
    return told, chance


def nearest(
    bank: Tensor, queries: Tensor, k: int, query_chunk: int = 1024, bank_chunk: int = 32768
) -> tuple[Tensor, Tensor]:
    """The k most similar of a bank `[M, D]` for each of the queries `[Q, D]`, by their cosine.

    The similarities of one chunk with another are in memory at a time.

    Returns:
        Similarities `[Q, k]`, the highest first, and places in the bank `[Q, k]`.
    """
    bank, queries = (F.normalize(features.float(), dim=1) for features in (bank, queries))
    found = [_nearest(bank, chunk, k, bank_chunk) for chunk in queries.split(query_chunk)]
    values, places = zip(*found, strict=True)
    return torch.cat(values), torch.cat(places)


def _nearest(bank: Tensor, queries: Tensor, k: int, bank_chunk: int) -> tuple[Tensor, Tensor]:
    values = queries.new_empty(len(queries), 0)
    places = torch.empty_like(values, dtype=torch.long)
    for start in range(0, len(bank), bank_chunk):
        similarity = queries @ bank[start : start + bank_chunk].T
        top = similarity.topk(min(k, similarity.shape[1]), dim=1)
        values = torch.cat([values, top.values], dim=1)
        places = torch.cat([places, top.indices + start], dim=1)
        best = values.topk(min(k, values.shape[1]), dim=1)
        values, places = best.values, places.gather(1, best.indices)
    return values, places


def votes(
    similarity: Tensor, labels: Tensor, temperature: float, chunk: int = 4096
) -> dict[Vote, Tensor]:
    """What k neighbors of Q queries elect, by their similarities and labels, `[Q, k]` each.

    Returns:
        The label of every query `[Q]`, by either vote.
    """
    num_classes = int(labels.max()) + 1
    elected: dict[Vote, list[Tensor]] = {"weighted": [], "plain": []}
    for some, voted in zip(similarity.split(chunk), labels.split(chunk), strict=True):
        # The softmax differs from the exponentials by a factor a query, and can't overflow.
        weights = (some / temperature).softmax(1)
        counts = weights.new_zeros(len(some), num_classes)
        weighted = counts.scatter_add(1, voted, weights)
        plain = counts.scatter_add(1, voted, torch.ones_like(weights))
        elected["weighted"].append(weighted.argmax(1))
        # A query's weights add up to 1: half of that decides ties and nothing else.
        elected["plain"].append((plain + weighted / 2).argmax(1))
    return {vote: torch.cat(answers) for vote, answers in elected.items()}


def upper_bound(models: Sequence[tuple[SlotFeatures, SlotFeatures]], **settings: Any) -> Row:
    """What the slots of models tell of the labels that they were trained for.

    Args:
        models: bank and queries of each; usually a model of actions and one of scenes.
        settings: of `probe_slots`.
    """
    row: Row = {}
    for bank, queries in models:
        own = {
            name: probe
            for name, probe in PROBES.items()
            if probe.bank == probe.query == probe.label and probe.label in bank.tasks
        }
        row |= probe_slots(bank, queries, probes=own, **settings)[0]
    return row
