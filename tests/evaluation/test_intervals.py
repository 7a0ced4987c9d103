import time

import numpy as np
import pytest

from devias.evaluation.intervals import counts, intervals, resampled_means, wilson
from devias.evaluation.paired import difference, mcnemar
from devias.evaluation.protocol import Protocol

RNG = np.random.default_rng(0)
SETS = {
    "seen": {"split": "seen", "combination": "seen"},
    "scuba": {"split": "a", "combination": "unseen", "tasks": ["action"]},
    "far_1": {"split": "b", "combination": "unseen", "tasks": ["scene"], "group": "far"},
    "far_2": {"split": "c", "combination": "unseen", "tasks": ["scene"], "group": "far"},
    "rand": {"split": "d", "combination": "unseen", "tasks": ["scene"]},
}
PROTOCOL = Protocol("p", SETS, scene_topk=5)


def hits(share, videos=300):
    return (RNG.random(videos) < share).astype(float)


def videos(action=0.6, scene=0.8):
    return {
        "seen": {
            "action_top1": hits(action),
            "scene_top5": hits(scene),
            "mask_iou": RNG.random(300),
        },
        "scuba": {"action_top1": hits(action / 2)},
        **{name: {"scene_top5": hits(scene / 2)} for name in ("far_1", "far_2", "rand")},
    }


def test_wilson_of_hvu_unseen_set_by_hand():
    # z = 1.959964, n = 229, p = 0.4: center 0.40165, half-width 0.06295.
    low, high = wilson(round(0.4 * 229), 229)
    z, n, p = 1.959964, 229, round(0.4 * 229) / 229
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (low, high) == pytest.approx((center - half, center + half), abs=1e-6)
    assert high - low == pytest.approx(0.126, abs=0.002)  # ± 6 points


def test_shares_have_wilsons_interval_and_all_others_hold_their_number():
    sets = videos()
    found = intervals(PROTOCOL, sets, resamples=500)
    per_set = {n: {m: float(v.mean()) for m, v in values.items()} for n, values in sets.items()}
    summary = PROTOCOL.summarize(per_set)
    assert found.keys() == summary.keys()
    assert all(low < summary[name] < high for name, (low, high) in found.items())
    right = int(sets["scuba"]["action_top1"].sum())
    assert found["scuba/action_top1"] == found["unseen/action_top1"] == wilson(right, 300)
    # A mean over groups of sets varies less than one of them.
    widths = {name: high - low for name, (low, high) in found.items()}
    assert widths["unseen/scene_top5"] < 0.75 * widths["rand/scene_top5"]


def test_a_group_counts_as_one_set():
    sets = videos()
    for name, share in (("far_1", 1.0), ("far_2", 0.0)):
        sets[name]["scene_top5"] = np.full(300, share)
    sets["rand"]["scene_top5"] = np.full(300, 0.5)
    low, high = intervals(PROTOCOL, sets, resamples=50)["unseen/scene_top5"]
    assert low == high == 0.5


def test_intervals_are_those_of_the_normal_distribution_and_repeatable():
    values = {"mask_iou": RNG.normal(0.5, 0.1, 400)}
    protocol = Protocol("p", {"a": {"split": "a"}})
    found = intervals(protocol, {"a": values}, resamples=4000)
    half = 1.96 * values["mask_iou"].std() / 20
    mean = values["mask_iou"].mean()
    assert found["a/mask_iou"] == pytest.approx((mean - half, mean + half), abs=1e-3)
    assert found == intervals(protocol, {"a": values}, resamples=4000)
    assert found != intervals(protocol, {"a": values}, resamples=4000, seed=1)


def test_counts_leave_out_what_a_metric_says_nothing_of():
    sets = videos()
    sets["scuba"]["action_top1"][:10] = np.nan
    found = counts(PROTOCOL, sets)
    assert found["scuba/action_top1"] == found["unseen/action_top1"] == 290
    assert found["unseen/scene_top5"] == 900
    assert "harmonic_mean" not in found


def test_all_metrics_are_of_the_same_drawn_videos():
    one = RNG.random(50)
    unknown = one.copy()
    unknown[:25] = np.nan
    drawn = resampled_means({"a": one, "b": 1 - one, "c": unknown}, RNG, 100)
    assert drawn["a"].shape == (100,)
    assert np.allclose(drawn["a"] + drawn["b"], 1)
    assert drawn["c"].mean() == pytest.approx(one[25:].mean(), abs=0.02)


def test_twenty_thousand_videos_take_less_than_two_seconds():
    values = {name: hits(0.7, 20_000) for name in ("action_top1", "scene_top5", "slot_collision")}
    protocol = Protocol("p", {"a": {"split": "a"}})
    start = time.process_time()
    intervals(protocol, {"a": values}, resamples=1000)
    assert time.process_time() - start < 2


def test_mcnemar_by_hand():
    nan = np.nan
    first = np.array([1, 1, 1, 0, 0, 1, 1, 1, nan, 1.0])
    second = np.array([0, 0, 0, 1, 0, 1, 0, 0, 1, nan])
    test = mcnemar(first, second)
    assert (test.videos, test.first_only, test.second_only) == (8, 5, 1)
    # 2 (C(6, 0) + C(6, 1)) / 2⁶
    assert test.p == pytest.approx(2 * 7 / 64)
    assert mcnemar(first, first).p == 1


def test_the_difference_of_two_models_is_paired():
    first = videos()
    second = {n: {m: v.copy() for m, v in values.items()} for n, values in first.items()}
    second["scuba"]["action_top1"][np.flatnonzero(second["scuba"]["action_top1"] == 0)[:30]] = 1
    mean, (low, high) = difference(PROTOCOL, first, second)
    assert 0 < low < mean < high
    # Far narrower than the intervals of the two themselves, which have most videos in common.
    own = intervals(PROTOCOL, first)["harmonic_mean"]
    assert high - low < 0.6 * (own[1] - own[0])
    assert difference(PROTOCOL, first, first)[1] == (0, 0)
    assert difference(PROTOCOL, first, second, "no/such") is None
