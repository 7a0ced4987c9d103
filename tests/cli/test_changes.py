"""The words of `devias evaluate`: as Hydra takes them, and as they were meant."""

import pytest

from devias.cli.changes import as_additions, as_changes


@pytest.mark.parametrize(
    ("word", "addition", "meant"),
    [
        ("data.root=/x", "++data.root=/x", ["data.root=/x"]),
        ("masks=segformer", "+masks=segformer", ["masks=segformer"]),
        ("++masks=segformer", "+masks=segformer", ["masks=segformer"]),
        ("logger=null", "++logger=null", ["logger=null"]),
        ("~callbacks.figures", "++callbacks.figures=null", ["callbacks.figures=null"]),
        ("+data.extra=1", "+data.extra=1", ["+data.extra=1"]),
        ("checkpoint=a", "checkpoint=a", []),
        ("output_dir=a", "output_dir=a", []),
        ("trust=true", "trust=true", []),
        ("hydra.verbose=true", "hydra.verbose=true", []),
    ],
)
def test_words_become_additions_once_and_changes_again(word, addition, meant):
    assert as_additions([word]) == [addition]
    assert as_additions([addition]) == [addition]
    assert as_changes([addition]) == meant


def test_other_commands_have_other_keys():
    words = ["split=test", "data=ucf101", "data.root=/x"]
    additions = ["split=test", "+data=ucf101", "++data.root=/x"]
    assert as_additions(words, own=["split"]) == additions
    assert as_changes(additions, own=["split"]) == words[1:]


def test_flags_stay():
    assert as_additions(["--multirun"]) == ["--multirun"]
