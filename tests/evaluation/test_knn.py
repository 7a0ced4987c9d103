import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.evaluation.knn import SlotFeatures, knn_accuracy, slot_knn
from devias.structures import UNKNOWN


def naive_accuracy(bank, bank_labels, queries, query_labels, k, temperature):
    """One query, one neighbor at a time, in Python floats."""

    def cosine(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    hits = 0
    for query, label in zip(queries.tolist(), query_labels.tolist(), strict=True):
        similarity = [cosine(query, stored) for stored in bank.tolist()]
        nearest = sorted(range(len(similarity)), key=lambda i: -similarity[i])[:k]
        votes = {}
        for i in nearest:
            stored = bank_labels[i].item()
            votes[stored] = votes.get(stored, 0) + math.exp(similarity[i] / temperature)
        hits += max(votes, key=votes.get) == label
    return hits / len(queries)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(1, 11),
    temperature=st.sampled_from([0.07, 0.5, 10.0]),
    chunk_size=st.sampled_from([1, 3, 256]),
)
def test_agrees_with_the_naive_version(seed, k, temperature, chunk_size):
    generator = torch.Generator().manual_seed(seed)
    bank, queries = torch.randn(18, 5, generator=generator).split([11, 7])
    bank_labels, query_labels = torch.randint(0, 4, (18,), generator=generator).split([11, 7])
    accuracy = knn_accuracy(
        bank, bank_labels, queries, query_labels, k, temperature, chunk_size=chunk_size
    )
    expected = naive_accuracy(bank, bank_labels, queries, query_labels, k, temperature)
    assert accuracy == pytest.approx(expected)


def test_length_of_a_feature_does_not_matter():
    bank = torch.tensor([[100.0, 100.0], [0.1, 0.0]])
    labels = torch.tensor([0, 1])
    assert knn_accuracy(bank, labels, torch.tensor([[3.0, 0.1]]), torch.tensor([1]), k=1) == 1


def test_near_neighbors_outvote_many_at_low_temperature():
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1, 1])
    query, label = torch.tensor([[1.0, 0.1]]), torch.tensor([0])
    assert knn_accuracy(bank, labels, query, label, k=3, temperature=0.07) == 1
    assert knn_accuracy(bank, labels, query, label, k=3, temperature=100.0) == 0


def test_unknown_labels_neither_vote_nor_count():
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    accuracy = knn_accuracy(
        bank, torch.tensor([UNKNOWN, 1]), queries, torch.tensor([1, UNKNOWN]), k=1
    )
    assert accuracy == 1


@pytest.mark.parametrize("k", [0, 3])
def test_impossible_k_is_refused(k):
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=f"k={k} .* 2 labeled"):
        knn_accuracy(torch.eye(2), labels, torch.eye(2), labels, k=k)


def test_no_query_is_refused():
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="at least one query"):
        knn_accuracy(torch.eye(2), labels, torch.eye(2), labels - labels - 1, k=1)


def test_disentangled_slots_know_their_own_label_only():
    # Every combination of 4 actions and 3 scenes; a slot is the one-hot code of its own label.
    action, scene = torch.cartesian_prod(torch.arange(4), torch.arange(3)).unbind(1)
    features = SlotFeatures(
        action_slot=torch.eye(7)[action],
        scene_slot=torch.eye(7)[4 + scene],
        action=action,
        scene=scene,
    )
    by_action, by_scene = slot_knn(features, features, k=3), slot_knn(features, features, k=4)
    assert by_action["knn_action_normal"] == by_scene["knn_scene_normal"] == 1
    # The 4 videos of a scene show the 4 actions: their slots, all alike, can name one of them.
    assert by_scene["knn_action_other"] == pytest.approx(1 / 4)
    assert by_action["knn_scene_other"] == pytest.approx(1 / 3)


def test_crossed_queries_use_the_other_slot():
    features = SlotFeatures(
        action_slot=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        scene_slot=torch.tensor([[0.0, 1.0], [1.0, 0.0]]),  # of the other video's action
        action=torch.tensor([0, 1]),
        scene=torch.tensor([0, 1]),
    )
    accuracy = slot_knn(features, features, k=1)
    assert accuracy == {
        "knn_action_normal": 1,
        "knn_action_crossed": 0,
        "knn_action_other": 1,
        "knn_scene_normal": 1,
        "knn_scene_crossed": 0,
        "knn_scene_other": 1,
    }
