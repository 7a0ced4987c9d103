import pytest

from devias.errors import did_you_mean


@pytest.mark.parametrize(
    ("word", "answer"),
    [("trian", "; did you mean train?"), ("reports", "; did you mean report?"), ("xyz", "")],
)
def test_the_nearest_known_word_is_asked_for(word, answer):
    assert did_you_mean(word, ["train", "report"]) == answer
