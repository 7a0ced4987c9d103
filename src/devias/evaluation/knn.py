"""k-nearest-neighbor probes of the slots, with normal and crossed features (paper, Table 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from devias.structures import UNKNOWN


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


def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    k: int = 20,
    temperature: float = 0.07,
    chunk_size: int = 256,
) -> float:
    """Top-1 accuracy of a weighted k-NN classifier under cosine similarity.

    Each of the k nearest neighbors votes for its label with weight exp(similarity / temperature).
    Videos of unknown label are left out of the bank and of the queries.

    Args:
        bank: `[M, D]` features of the training videos.
        bank_labels: `[M]`.
        queries: `[Q, D]` features of the test videos.
        query_labels: `[Q]`.
        k: Neighbours.
        temperature: Of the votes.
        chunk_size: Queries at a time; the similarities take `chunk_size · M · 4` bytes.

    Raises:
        ValueError: `k` is not between 1 and the size of the bank, or there is no query.
    """
    bank, bank_labels = _labeled(bank, bank_labels)
    queries, query_labels = _labeled(queries, query_labels)
    if not 1 <= k <= len(bank):
        raise ValueError(f"k={k} neighbors can't be found among {len(bank)} labeled videos")
    if not len(queries):
        raise ValueError("k-NN accuracy needs at least one query with a known label")

    num_classes = int(bank_labels.max()) + 1
    predicted = []
    for chunk in queries.split(chunk_size):
        nearest = (chunk @ bank.T).topk(k, dim=1)
        # The softmax differs from the exponentials by a factor a query, and can't overflow.
        weights = (nearest.values / temperature).softmax(1)
        votes = weights.new_zeros(len(chunk), num_classes)
        votes.scatter_add_(1, bank_labels[nearest.indices], weights)
        predicted.append(votes.argmax(1))
    return (torch.cat(predicted) == query_labels).float().mean().item()


def slot_knn(
    train: SlotFeatures, test: SlotFeatures, k: int = 20, temperature: float = 0.07
) -> dict[str, float]:
    """Tell what each slot knows of each label.

    For the label action (for scene with the slots exchanged):

    - `knn_action_normal`: action slots looked up among action slots. High is good.
    - `knn_action_crossed`: scene slots looked up among action slots, as in the paper's Table 1.
      Low is good, but the slot-diversity loss alone can bring it to 0.
    - `knn_action_other`: scene slots looked up among scene slots: the action that a scene slot
      gives away. Low is good.

    Raises:
        ValueError: As `knn_accuracy`.
    """
    accuracy = {}
    for task, other in (("action", "scene"), ("scene", "action")):
        for name, stored, asked in (
            ("normal", task, task),
            ("crossed", task, other),
            ("other", other, other),
        ):
            accuracy[f"knn_{task}_{name}"] = knn_accuracy(
                getattr(train, f"{stored}_slot"),
                getattr(train, task),
                getattr(test, f"{asked}_slot"),
                getattr(test, task),
                k=k,
                temperature=temperature,
            )
    return accuracy


def _labeled(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The unit features, in float32, and labels of the videos whose label is known."""
    known = labels != UNKNOWN
    return F.normalize(features[known].float(), dim=1), labels[known]
