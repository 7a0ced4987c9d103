import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.evaluation.knn import (
    PROBES,
    Share,
    SlotFeatures,
    nearest,
    probe_slots,
    upper_bound,
    votes,
)
from devias.reporting.knn import knn_table
from devias.structures import UNKNOWN


def naive_answer(bank, labels, query, k, temperature, weighted):
    """One neighbor at a time, in Python floats."""

    def cosine(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    similarity = [cosine(query, stored) for stored in bank]
    ranking = sorted(range(len(similarity)), key=lambda i: -similarity[i])[:k]
    elected = {}
    for i in ranking:
        count, weight = elected.get(labels[i], (0, 0))
        elected[labels[i]] = (count + 1, weight + math.exp(similarity[i] / temperature))
    by = (lambda c: elected[c][1]) if weighted else (lambda c: elected[c])
    return max(elected, key=by)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(1, 11),
    temperature=st.sampled_from([0.07, 0.5, 10.0]),
    query_chunk=st.sampled_from([1, 3, 256]),
    bank_chunk=st.sampled_from([1, 4, 256]),
)
def test_agrees_with_the_naive_version(seed, k, temperature, query_chunk, bank_chunk):
    generator = torch.Generator().manual_seed(seed)
    bank, queries = torch.randn(18, 5, generator=generator).split([11, 7])
    labels = torch.randint(0, 4, (11,), generator=generator)
    similarity, places = nearest(bank, queries, k, query_chunk, bank_chunk)
    assert (similarity.diff(dim=1) <= 0).all()
    elected = votes(similarity, labels[places], temperature, chunk=query_chunk)
    for vote, answers in elected.items():
        naive = [
            naive_answer(bank.tolist(), labels.tolist(), q, k, temperature, vote == "weighted")
            for q in queries.tolist()
        ]
        assert answers.tolist() == naive


def test_length_of_a_feature_does_not_matter():
    bank = torch.tensor([[100.0, 100.0], [0.1, 0.0]])
    assert nearest(bank, torch.tensor([[3.0, 0.1]]), k=1)[1].tolist() == [[1]]


def test_near_neighbors_outvote_many_at_low_temperature():
    similarity, labels = torch.tensor([[1.0, 0.2, 0.2]]), torch.tensor([[0, 1, 1]])
    for temperature, answer in ((0.07, 0), (100.0, 1)):
        elected = votes(similarity, labels, temperature)
        assert elected["weighted"].tolist() == [answer]
        assert elected["plain"].tolist() == [1]


def test_a_plain_tie_goes_to_the_nearer_neighbors():
    elected = votes(torch.tensor([[0.9, 0.8, 0.1, 0.0]]), torch.tensor([[3, 3, 1, 1]]), 0.07)
    assert elected["plain"].tolist() == [3]


def disentangled(repeats):
    """Every pair of 4 actions and 3 scenes; a slot is the one-hot code of its own label."""
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(3)).repeat(repeats, 1)
    action, scene = pairs.unbind(1)
    return SlotFeatures(torch.eye(7)[action], torch.eye(7)[4 + scene], action, scene)


def test_disentangled_slots_know_their_own_label_only():
    bank, queries = disentangled(repeats=4), disentangled(repeats=1)
    told, chance = probe_slots(bank, queries, k=12)
    assert told["A-A"]["weighted"] == Share(12, 12)
    # All that are alike are neighbors; 12 of the 16 videos of a scene can't tell more than chance.
    assert told["A-S"]["weighted"].hits == 4
    assert told["S-A"]["weighted"].accuracy < 0.6
    assert set(told) == set(chance) == set(PROBES)
    assert chance["A-A"]["plain"].accuracy < 0.7


def test_crossed_queries_use_the_other_slot():
    features = SlotFeatures(
        action_slot=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        scene_slot=torch.tensor([[0.0, 1.0], [1.0, 0.0]]),  # of the other video's action
        action=torch.tensor([0, 1]),
        scene=torch.tensor([0, 1]),
    )
    told, _ = probe_slots(features, features, k=1)
    accuracy = {name: share["weighted"].accuracy for name, share in told.items()}
    assert accuracy == {"A-A": 1, "S-S": 1, "A-S": 1, "S-A": 1, "S in A": 0, "A in S": 0}


def test_shuffled_labels_show_how_frequent_labels_are():
    generator = torch.Generator().manual_seed(1)
    action = (torch.rand(600, generator=generator) < 0.8).long()
    features = SlotFeatures(torch.eye(2)[action], torch.eye(2)[action], action, action)
    told, chance = probe_slots(features, features, k=10)
    assert told["A-A"]["plain"].accuracy == 1
    # Whoever is asked, ten random neighbors mostly answer what four of five videos show.
    assert chance["A-A"]["plain"].accuracy == pytest.approx(0.8, abs=0.05)
    again = probe_slots(features, features, k=10)[1]
    assert again == chance


def test_unknown_labels_neither_vote_nor_count():
    bank = SlotFeatures(
        torch.eye(2), torch.eye(2), torch.tensor([UNKNOWN, 1]), torch.tensor([0, 1])
    )
    queries = SlotFeatures(
        torch.eye(2), torch.eye(2), torch.tensor([1, UNKNOWN]), torch.tensor([UNKNOWN, UNKNOWN])
    )
    told, _ = probe_slots(bank, queries, k=1)
    assert {name: share["plain"] for name, share in told.items()} == {
        "A-A": Share(1, 1),
        "S-A": Share(1, 1),
        "S in A": Share(1, 1),
    }
    assert probe_slots(bank, queries, k=2)[0] == {}
    with pytest.raises(ValueError, match="k must be at least 1"):
        probe_slots(bank, queries, k=0)


def test_an_upper_bound_counts_for_what_its_model_was_trained_for():
    whole = disentangled(repeats=2)
    parts = [
        SlotFeatures(whole.action_slot, whole.action_slot, whole.action, whole.scene,
                     tasks=frozenset({"action"})),
        SlotFeatures(whole.scene_slot, whole.scene_slot, whole.action, whole.scene,
                     tasks=frozenset({"scene"})),
    ]  # fmt: skip
    row = upper_bound([(part, part) for part in parts], k=3)
    assert {name: share["weighted"].accuracy for name, share in row.items()} == {"A-A": 1, "S-S": 1}


def test_the_interval_is_wilsons_and_the_table_shows_it():
    # (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964.
    z, n, p = 1.959964, 50, 0.8
    center, reach = p + z**2 / 2 / n, z * math.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    low, high = (center - reach) / (1 + z**2 / n), (center + reach) / (1 + z**2 / n)
    share = Share(40, 50)
    assert share.interval == pytest.approx((low, high), abs=1e-6)
    shares = {"weighted": share, "plain": Share(0, 50)}
    table = knn_table({"model": {"A-A": shares}}, "weighted").splitlines()
    assert table[0] == "|  | A-A | S-S | A-S | S-A | S in A | A in S |"
    assert table[2] == f"| model | 80.0 ({100 * low:.1f}–{100 * high:.1f}) | – | – | – | – | – |"
