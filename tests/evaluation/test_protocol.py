import json

import numpy as np
import pytest

from devias.errors import ConfigError
from devias.evaluation.protocol import Protocol, harmonic_mean

SEEN = {"action_top1": 0.8, "scene_top1": 0.6, "scene_top5": 0.9}
SETS = {
    "test": {"split": "test", "combination": "seen"},
    "unseen_test": {"split": "unseen", "combination": "unseen"},
}


def scuba_and_hat() -> Protocol:
    """As the paper tests UCF-101: SCUBA counts for actions, HAT for scenes, each over splits."""
    scuba = {
        f"scuba_{name}": {
            "data": f"scuba_{name}",
            "split": "test",
            "combination": "unseen",
            "tasks": ["action"],
        }
        for name in ("places", "sinusoid")
    }
    hat = {
        f"hat_{kind}_{split}": {
            "data": f"hat_{kind}",
            "split": str(split),
            "combination": "unseen",
            "tasks": ["scene"],
            "group": f"hat_{kind}",
        }
        for kind in ("far", "rand")
        for split in (1, 2, 3)
    }
    return Protocol("ucf101", {"test": {"split": "test", "combination": "seen"}, **scuba, **hat})


RESULTS = {
    "test": SEEN,
    "scuba_places": {"action_top1": 0.2},
    "scuba_sinusoid": {"action_top1": 0.4},
    **{f"hat_far_{split}": {"scene_top5": 0.6} for split in (1, 2, 3)},
    "hat_rand_1": {"scene_top5": 0.8},
    "hat_rand_2": {"scene_top5": 0.9},
    "hat_rand_3": {"scene_top5": 0.6},
}


def test_harmonic_mean_by_hand():
    # 3 / (1 + 2 + 4)
    assert harmonic_mean([1.0, 0.5, 0.25]) == pytest.approx(3 / 7)
    assert harmonic_mean([0.9, 0.0]) == 0


def test_one_unseen_set_and_top_1_as_hvu():
    protocol = Protocol("hvu", SETS, scene_topk=1)
    unseen = {"action_top1": 0.4, "scene_top1": 0.5, "scene_bias": 0.3}
    summary = protocol.summarize({"test": SEEN, "unseen_test": unseen})
    assert summary["gap/action_top1"] == pytest.approx(0.4)
    assert summary["gap/scene_top1"] == pytest.approx(0.1)
    assert summary["test/scene_top5"] == summary["seen/scene_top5"] == 0.9
    assert summary["unseen_test/scene_bias"] == summary["unseen/scene_bias"] == 0.3
    # 4 / (1/.8 + 1/.6 + 1/.4 + 1/.5) = 4 / 7.41667
    assert summary["harmonic_mean"] == pytest.approx(4 / 7.416667, abs=1e-6)


def test_unseen_is_the_mean_over_sets_and_groups_of_splits_count_as_one():
    summary = scuba_and_hat().summarize(RESULTS)
    assert summary["unseen/action_top1"] == pytest.approx(0.3)
    # Far's three splits have .6, Rand's .8, .9 and .6: (.6 + .766667) / 2.
    assert summary["unseen/scene_top5"] == pytest.approx(0.683333, abs=1e-6)
    assert "unseen/scene_top1" not in summary
    # 4 / (1/.8 + 1/.3 + 1/.9 + 1/.683333) = 4 / 7.157859
    assert summary["harmonic_mean"] == pytest.approx(0.558826, abs=1e-5)


def test_the_scene_accuracy_that_counts_is_the_protocols():
    assert scuba_and_hat().headline == ("action_top1", "scene_top5")
    assert Protocol("hvu", SETS, scene_topk=1).headline == ("action_top1", "scene_top1")


def test_absent_sets_are_named_and_what_they_count_for_is_no_mean_of_the_rest():
    protocol = scuba_and_hat().without({"hat_far_2": "no such folder"})
    assert protocol.absent == {"hat_far_2": "no such folder"}
    assert "hat_far_2" not in [s.name for s in protocol.sets]
    summary = protocol.summarize(RESULTS)
    assert summary["hat_far_1/scene_top5"] == 0.6
    assert summary["unseen/action_top1"] == pytest.approx(0.3)
    assert "unseen/scene_top5" not in summary
    assert "harmonic_mean" not in summary
    assert scuba_and_hat().absent == {}


@pytest.mark.parametrize("lacking", ["action_top1", "scene_top1"])
def test_no_harmonic_mean_unless_all_four_numbers_exist(lacking):
    unseen = {"action_top1": 0.4, "scene_top1": 0.5}
    del unseen[lacking]
    protocol = Protocol("hvu", SETS, scene_topk=1)
    assert "harmonic_mean" not in protocol.summarize({"test": SEEN, "unseen_test": unseen})


def test_without_unseen_sets_and_with_sets_of_no_combination():
    sets = {"test": SETS["test"], "scene_only": {"split": "scene_only"}}
    protocol = Protocol("ucf101", sets)
    summary = protocol.summarize({"test": SEEN, "scene_only": {"scene_top1": 0.1}})
    assert set(summary) == {
        "scene_only/scene_top1",
        *(f"{name}/{metric}" for name in ("test", "seen") for metric in SEEN),
    }


def test_validation_is_apart_and_selects_by_all_its_headline_numbers():
    validation = {"val": {"split": "val", "combination": "seen"}}
    protocol = Protocol("hvu", SETS, validation, scene_topk=1)
    assert [s.name for s in protocol.validation] == ["val"]
    assert protocol.validation_score({"val": SEEN}) == pytest.approx(2 / (1 / 0.8 + 1 / 0.6))


def test_a_set_that_is_null_has_been_dropped():
    assert [s.name for s in Protocol("x", {**SETS, "unseen_test": None}).sets] == ["test"]


SCUFO = {
    f"scufo_{name}": {
        "split": name, "tasks": ["action"], "group": "scufo", "lower_is_better": True
    }
    for name in ("places", "sinusoid")
}  # fmt: skip


def test_sets_that_speak_against_a_model_count_for_no_combination():
    protocol = Protocol("hvu", {**SETS, **SCUFO}, scene_topk=1)
    results = {"test": SEEN, "unseen_test": {"action_top1": 0.4, "scene_top1": 0.5}}
    scufo = {"scufo_places": {"action_top1": 0.1}, "scufo_sinusoid": {"action_top1": 0.3}}
    summary = protocol.summarize({**results, **scufo})
    assert summary["scufo/action_top1"] == pytest.approx(0.2)
    del summary["scufo/action_top1"]
    without = Protocol("hvu", SETS, scene_topk=1).summarize(results)
    assert {n: v for n, v in summary.items() if "scufo" not in n} == without
    assert protocol.lower_is_better == ["scufo/action_top1"]
    alone = {"scufo": {"split": "x", "tasks": ["action"], "lower_is_better": True}}
    assert Protocol("x", alone).lower_is_better == ["scufo/action_top1"]
    rest = protocol.without({"scufo_places": "no such folder"})
    assert "scufo/action_top1" not in rest.summarize({**results, **scufo})


def test_values_of_resampling_are_summarized_alike():
    results = [
        {"test": SEEN, "unseen_test": {"action_top1": x, "scene_top1": 0.5}} for x in (0.4, 0)
    ]
    protocol = Protocol("hvu", SETS, scene_topk=1)
    both = {
        name: {m: np.array([result[name][m] for result in results]) for m in values}
        for name, values in results[0].items()
    }
    summary = protocol.summarize(both)
    for i, result in enumerate(results):
        each = protocol.summarize(result)
        assert {name: values[i] for name, values in summary.items()} == pytest.approx(each)
    assert summary["harmonic_mean"][1] == 0


def test_a_protocol_is_described_by_plain_values():
    protocol = scuba_and_hat().without({"hat_far_2": "no such folder"})
    again = Protocol.from_description(json.loads(json.dumps(protocol.describe())))
    assert again.sets == protocol.sets
    assert again.absent == protocol.absent
    assert again.summarize(RESULTS) == protocol.summarize(RESULTS)


def test_rows_of_the_paper_are_fractions():
    protocol = Protocol("x", SETS, paper={"a row": {"harmonic_mean": 12.5}})
    assert protocol.paper == {"a row": {"harmonic_mean": 0.125}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sets": {"a": {"splt": "test"}}}, "protocol: a: .*splt"),
        ({"sets": {"a": {"split": "t", "tasks": ["acton"]}}}, "a.tasks must be of.* not 'acton'"),
        ({"sets": {"a": {"split": "t", "combination": "new"}}}, "a.combination .* not 'new'"),
        ({"sets": SETS, "validation": SETS}, "'test' is both"),
        ({"sets": SETS, "scene_topk": 3}, "scene_topk is 1 or 5, not 3"),
        ({"sets": SETS, "num_clips": 0}, "0 clips × 3 crops"),
        ({"sets": SETS, "on_error": "pass"}, "on_error is raise or skip, not 'pass'"),
        ({"sets": SETS, "kept_scores": 3}, "kept_scores is at least 5, not 3"),
        (
            {"sets": {"a": {"split": "t", "combination": "seen", "lower_is_better": True}}},
            "a cannot count as seen with lower_is_better",
        ),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Protocol("x", **settings)


def test_a_set_without_metrics_is_named():
    with pytest.raises(ConfigError, match=r"'unseen_test'.*'test'"):
        Protocol("x", SETS).summarize({"test": SEEN})
