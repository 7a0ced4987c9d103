import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from devias.config.overrides import as_value, is_override, near_key, normalize_overrides, quoted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pseudo=fame", "masks=fame"),
        ("pseudo=true_masks", "masks=ground_truth"),
        ("pseudo=fame,true_masks", "masks=fame,ground_truth"),
        ("+pseudo.beta=0.2", "+masks.beta=0.2"),
        ("pseudo@_global_.pseudo=fame", "masks@_global_.pseudo=fame"),
        ("~debias", "~augment"),
        ("debias.prob_aug=1", "augment.prob_aug=1"),
        ("recipe.mixing_fill=true", "recipe.inpaint=true"),
    ],
)
def test_words_of_earlier_versions_are_renamed_and_mentioned(old, new, caplog):
    assert normalize_overrides([old]) == [new]
    assert caplog.messages == [f"{old} is now called {new}"]


@pytest.mark.parametrize(
    "word",
    ["masks=fame", "data.pseudo_cache=/x", "pseudonym=1", "recipe.mixing_fills=1", "-m", "--cfg"],
)
def test_other_words_stay_as_they_are(word, caplog):
    assert normalize_overrides([word]) == [word]
    assert not caplog.messages


def test_an_argument_of_the_trainer_may_be_there_or_not():
    assert normalize_overrides(["+trainer.limit_val_batches=3"]) == [
        "++trainer.limit_val_batches=3"
    ]


@given(st.text("ab=~ /()@,.:", min_size=1).filter(lambda text: text.strip() == text))
def test_a_plain_value_that_hydra_cannot_read_is_taken_as_it_is(text):
    (word,) = normalize_overrides([f"checkpoint={text}"])
    value = OverridesParser.create().parse_override(word).value()
    if word != f"checkpoint={text}":
        assert value == text


def test_a_list_that_is_not_closed_is_no_text():
    assert normalize_overrides(["seed=[1", "seed"]) == ["seed=[1", "seed"]


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("trainer.max_epoch", "; did you mean trainer.max_epochs?"),
        ("max_epochs", "; did you mean trainer.max_epochs?"),
        ("zzz", "; +zzz=… adds it"),
    ],
)
def test_the_nearest_key(key, answer):
    config = OmegaConf.create({"seed": 0, "trainer": {"max_epochs": 3, "devices": "${oc.env:NO}"}})
    assert near_key(key, config) == answer


def test_overrides_are_told_from_flags():
    words = ["seed=1", "--cfg", "job", "~loss.action", "--config-dir=x", "+a=1"]
    assert [is_override(word) for word in words] == [True, False, False, True, False, True]


@given(st.text(st.characters(codec="utf-8"), max_size=12) | st.text("'\\\\\"a ,=$[{~", max_size=9))
def test_any_text_is_a_value_in_quotes_and_plain_where_it_can_be(text):
    for written in (quoted(text), as_value(text)):
        override = OverridesParser.create().parse_override(f"key={written}")
        assert not override.is_sweep_override()
        assert override.value() == text
        assert isinstance(override.value(), str)


def test_a_value_needs_no_quotes_that_reads_as_itself():
    assert as_value("/a/b-c_1.x") == "/a/b-c_1.x"
    assert as_value("Two-Token") == "Two-Token"
    assert (as_value("a, b"), as_value("true"), as_value("3")) == ("'a, b'", "'true'", "'3'")
