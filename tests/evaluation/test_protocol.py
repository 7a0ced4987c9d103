import pytest

from devias.evaluation.protocol import harmonic_mean, summarize

SEEN = {"action_top1": 0.8, "scene_top1": 0.6, "scene_top5": 0.9}


def test_harmonic_mean_by_hand():
    # 3 / (1 + 2 + 4)
    assert harmonic_mean([1.0, 0.5, 0.25]) == pytest.approx(3 / 7)
    assert harmonic_mean([0.9, 0.0]) == 0


def test_one_unseen_split():
    unseen = {"action_top1": 0.4, "scene_top1": 0.5, "scene_bias": 0.3}
    summary = summarize({"test_seen": SEEN, "test_unseen": unseen}, "test_seen", ["test_unseen"])
    assert summary["test_seen/scene_top5"] == summary["seen/scene_top5"] == 0.9
    assert summary["test_unseen/scene_bias"] == summary["unseen/scene_bias"] == 0.3
    # 4 / (1/.8 + 1/.6 + 1/.4 + 1/.5) = 4 / 7.41667
    assert summary["harmonic_mean"] == pytest.approx(4 / 7.416667, abs=1e-6)


def test_unseen_is_the_mean_over_the_splits_that_have_the_metric():
    summary = summarize(
        {
            "test": SEEN,
            "scuba_places": {"action_top1": 0.2},
            "scuba_sinusoid": {"action_top1": 0.4},
            "hat": {"scene_top5": 0.7},
        },
        seen="test",
        unseen=["scuba_places", "scuba_sinusoid", "hat"],
        scene_topk=5,
    )
    assert summary["unseen/action_top1"] == pytest.approx(0.3)
    assert summary["unseen/scene_top5"] == pytest.approx(0.7)
    assert "unseen/scene_top1" not in summary
    # 4 / (1/.8 + 1/.3 + 1/.9 + 1/.7) = 4 / 7.123016
    assert summary["harmonic_mean"] == pytest.approx(0.561560, abs=1e-6)


@pytest.mark.parametrize("lacking", ["action_top1", "scene_top1"])
def test_no_harmonic_mean_unless_all_four_numbers_exist(lacking):
    unseen = {"action_top1": 0.4, "scene_top1": 0.5}
    del unseen[lacking]
    assert "harmonic_mean" not in summarize({"a": SEEN, "b": unseen}, "a", ["b"])


def test_without_unseen_splits():
    summary = summarize({"test": SEEN}, "test")
    assert set(summary) == {f"{split}/{name}" for split in ("test", "seen") for name in SEEN}


def test_other_splits_keep_their_own_name():
    summary = summarize({"test": SEEN, "scene_only": {"scene_top1": 0.1}}, "test")
    assert summary["scene_only/scene_top1"] == 0.1
    assert "unseen/scene_top1" not in summary


def test_misspelt_split_is_named():
    with pytest.raises(ValueError, match=r"'tset'.*'test'"):
        summarize({"test": SEEN}, "test", ["tset"])
