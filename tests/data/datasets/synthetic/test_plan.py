from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devias.data.datasets.synthetic.plan import FAMILIES, SyntheticSettings, plan_split
from devias.structures import UNKNOWN

SEEN = ("train", "val_seen", "test_seen")
UNSEEN = ("val_unseen", "test_unseen")


def pairs(drawn, *splits):
    return {(plan.action, plan.scene) for split in splits for plan in plan_split(drawn, split)}


@settings(max_examples=30)
@given(seed=st.integers(0, 2**40), correlation=st.floats(0, 1))
def test_no_unseen_pair_is_ever_trained(seed, correlation):
    clips = dict.fromkeys(FAMILIES["benchmark"].clips, 96)
    drawn = SyntheticSettings(seed=seed, correlation=correlation, clips=clips)
    seen, validation, test = pairs(drawn, *SEEN), *(pairs(drawn, name) for name in UNSEEN)
    assert not seen & validation
    assert not seen & test
    assert not validation & test


def test_the_pairs_of_the_splits_make_up_every_combination():
    drawn = SyntheticSettings()
    seen, validation, test = pairs(drawn, *SEEN), *(pairs(drawn, name) for name in UNSEEN)
    assert (len(seen), len(validation), len(test)) == (16, 16, 32)
    assert len(seen | validation | test) == 64


@pytest.mark.parametrize(("correlation", "home"), [(1.0, 1.0), (0.0, 0.0), (0.8, 0.8)])
def test_the_share_of_home_scenes_is_the_correlation(correlation, home):
    plans = plan_split(SyntheticSettings(correlation=correlation), "train")
    share = sum(plan.action == plan.scene for plan in plans) / len(plans)
    assert share == pytest.approx(home, abs=0.03)  # three standard errors of 1600 draws at 0.8


def test_an_oracle_is_trained_on_all_pairs_and_tested_as_others_are():
    usual, oracle = SyntheticSettings(), SyntheticSettings(oracle=True)
    for split in FAMILIES["benchmark"].clips:
        same = plan_split(oracle, split) == plan_split(usual, split)
        assert same == (split != "train")
    counts = Counter((plan.action, plan.scene) for plan in plan_split(oracle, "train"))
    # 1600 clips over 64 pairs: 25 each, four standard deviations of 5 to either side.
    assert len(counts) == 64
    assert 5 < min(counts.values()) < max(counts.values()) < 45


@pytest.mark.parametrize("split", ["train", "val_unseen", "test_unseen"])
def test_every_action_is_shown_equally_often(split):
    counts = Counter(plan.action for plan in plan_split(SyntheticSettings(), split))
    assert len(counts) == 8
    assert len(set(counts.values())) == 1


def test_unseen_scenes_are_shown_equally_often():
    for split in UNSEEN:
        counts = Counter(plan.scene for plan in plan_split(SyntheticSettings(), split))
        assert len(counts) == 8
        assert len(set(counts.values())) == 1


def test_scene_only_clips_have_no_action():
    plans = plan_split(SyntheticSettings(), "scene_only")
    assert {plan.action for plan in plans} == {UNKNOWN}
    assert Counter(plan.scene for plan in plans) == dict.fromkeys(range(8), 40)
    assert plans[8].name == "no_actor/v_no_actor_g06_c009"


def test_a_clip_does_not_depend_on_the_number_of_clips():
    few, many = (SyntheticSettings(clips={"train": count}) for count in (13, 50))
    assert plan_split(few, "train") == plan_split(many, "train")[:13]


def test_names_and_seeds_are_unique():
    seeds = []
    for family, registry in FAMILIES.items():
        drawn = SyntheticSettings(family=family)
        plans = [plan for split in registry.clips for plan in plan_split(drawn, split)]
        assert len({plan.name for plan in plans}) == len(plans)
        seeds += [plan.seed for plan in plans]
    assert len(set(seeds)) == len(seeds)


def test_pretraining_shares_no_class_with_the_benchmark_and_mixes_freely():
    benchmark, pretrain = FAMILIES["benchmark"], FAMILIES["pretrain"]
    assert not set(benchmark.actions) & set(pretrain.actions)
    assert not set(benchmark.scenes) & set(pretrain.scenes)
    assert len(benchmark.actions) >= 8
    assert len(pretrain.actions) >= 16
    counts = Counter(
        (plan.action, plan.scene)
        for plan in plan_split(SyntheticSettings(family="pretrain"), "train")
    )
    # 4000 clips over 128 pairs: 31 each, five standard deviations of 5.6 to either side.
    assert len(counts) == 128
    assert min(counts.values()) > 3
    assert max(counts.values()) < 59


def test_other_settings_have_other_folders():
    drawn = [
        SyntheticSettings(),
        SyntheticSettings(seed=1),
        SyntheticSettings(correlation=0.9),
        SyntheticSettings(oracle=True),
        SyntheticSettings(family="pretrain"),
        SyntheticSettings(clips={"train": 8}),
    ]
    assert len({each.folder_name for each in drawn}) == len(drawn)
    assert (
        drawn[0].folder_name == "synthetic-benchmark-6ec296c37d"
    )  # of data that lies on many disks
    assert SyntheticSettings(clips={"train": 1600}).folder_name == drawn[0].folder_name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "films"}, "family must be one of .*'benchmark', 'pretrain'.*'films'"),
        ({"correlation": 1.5}, r"correlation must be in \[0, 1\], not 1.5"),
        ({"seed": -1}, "seed must not be negative"),
        ({"clips": {"trian": 3}}, r"has the splits \['train', .*not \['trian'\]"),
        ({"family": "pretrain", "clips": {"test_seen": 3}}, "'pretrain' has the splits"),
        ({"clips": {"train": -3}}, "must not be negative"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SyntheticSettings(**arguments)
