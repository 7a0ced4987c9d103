import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from declared import FILES
from devias.config.overrides import OVERRIDE
from devias.sweeps.specification import TableError, harmonic_mean, read_table

EXPERIMENTS = FILES[0].parent
DOCUMENTED = {
    row
    for page in ("baselines", "ablations")
    for row in re.findall(r"^\|.*\| `([^`]+)` \|$", (EXPERIMENTS / f"{page}.md").read_text(), re.M)
}

GOOD = {
    "title": "A table",
    "base": "experiment=synthetic logger=csv",
    "seeds": [0, 2],
    "columns": ["seen/action_top1", "harmonic_mean"],
    "rows": {
        "One": "model=one_token",
        "Both, + FAME": {
            "overrides": ["model=two_token", "augment=fame"],
            "group": "tokens",
            "paper": {"harmonic_mean": 20.5},
            "note": "as it is",
        },
    },
}


def written(folder, content):
    path = folder / "a_table.yaml"
    path.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    return path


def test_a_file_is_read_as_it_says(tmp_path):
    table = read_table(written(tmp_path, GOOD))
    assert (table.title, table.folder, table.seeds) == ("A table", "a_table", (0, 2))
    assert table.base == ("experiment=synthetic", "logger=csv")
    assert [column.title for column in table.columns] == ["Action seen", "H.M."]
    one, both = table.rows
    assert (one.label, one.overrides, one.group) == ("One", ("model=one_token",), "")
    assert both.overrides == ("model=two_token", "augment=fame")
    assert (both.group, both.paper, both.note) == ("tokens", {"harmonic_mean": 20.5}, "as it is")


def test_columns_have_titles_and_directions(tmp_path):
    columns = {"Bias": "unseen/scene_bias", "Own": "scufo/action_top1"}
    bias, own = read_table(
        written(tmp_path, GOOD | {"columns": columns, "rows": {"a": ""}})
    ).columns
    assert (bias.title, bias.metric, bias.higher_is_better) == ("Bias", "unseen/scene_bias", False)
    assert (own.title, own.higher_is_better) == ("Own", True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "x"}, "the file has no key 'titel'; did you mean title?"),
        ({"title": 3}, "title must be text, not 3"),
        ({"rows": []}, r"rows must map labels to overrides, not be \[\]"),
        ({"rows": {"a": {"override": "x=1"}}}, "rows.a has no key 'override'; did you mean overr"),
        ({"rows": {"a": "model"}}, "rows.a: 'model' is not key=value"),
        ({"rows": {"a": "seed=3"}}, "rows.a: seed is set by the table itself"),
        ({"rows": {"a": "model=devias,two_token"}}, "is several values; a row is one method"),
        ({"rows": {"a": 3}}, "rows.a must be overrides such as model=devias, not 3"),
        ({"rows": {3: "x=1"}}, "the label 3 must be one line of text"),
        ({"rows": {"a ${b}": "x=1"}}, "must be one line of text, without"),
        ({"rows": {"a": {"group": 2}}}, "rows.a.group must be text, not 2"),
        ({"rows": {"a": {"paper": {"harmonic": 2}}}}, "rows.a.paper has no key 'harmonic'"),
        ({"rows": {"a": {"paper": {"harmonic_mean": "2"}}}}, "must be a number in per cent"),
        ({"rows": {"a": {"paper": {"harmonic_mean": 0.2e6}}}}, "must be a number in per cent"),
        ({"seeds": [0, True]}, "seeds must be whole numbers"),
        ({"seeds": []}, "seeds must be whole numbers"),
        ({"columns": []}, "columns must be names of metrics"),
        ({"columns": ["a", "a"]}, "columns: a stands twice"),
        ({"folder": "../x"}, "folder must be one name"),
        ({"measure": "guess"}, "measure must be one of test, knn"),
        ({"separate_groups": "yes"}, "separate_groups must be true or false"),
        ({"base": "paths.run_dir=x"}, "base: paths.run_dir is set by the table itself"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path, change, message):
    path = written(tmp_path, GOOD | change)
    with pytest.raises(TableError, match=f"^{re.escape(str(path))}: .*{message}"):
        read_table(path)


def test_a_label_that_stands_twice_is_refused_though_yaml_would_take_the_last(tmp_path):
    text = "title: x\ncolumns: [a]\nrows:\n  One: a=1\n  Two: b=1\n  One: a=2\n"
    with pytest.raises(TableError, match="'One' stands twice, again in line 6"):
        read_table(written(tmp_path, text))


@pytest.mark.parametrize("text", ["a: [", "", "- 1", "a: !!python/object:os.system {}", "&a [*a]"])
def test_what_is_no_table_is_refused(tmp_path, text):
    with pytest.raises(TableError, match=r"a_table\.yaml: "):
        read_table(written(tmp_path, text))


FOUR = ("seen/action_top1", "unseen/action_top1", "seen/scene_top5", "unseen/scene_top5")


def with_paper(folder, numbers, mean):
    paper = dict(zip(FOUR, numbers, strict=True)) | {"harmonic_mean": mean}
    columns = [*FOUR, "harmonic_mean"]
    rows = {"ours": {"overrides": "model=devias", "paper": paper}}
    return written(folder, GOOD | {"columns": columns, "rows": rows})


def test_the_paper_s_harmonic_mean_is_that_of_its_four_numbers(tmp_path):
    # 4 / (1/90 + 1/40 + 1/70 + 1/60) = 59.64…
    numbers = (90.0, 40.0, 70.0, 60.0)
    assert harmonic_mean(dict(zip(FOUR, numbers, strict=True))) == pytest.approx(59.645, abs=1e-3)
    for given_mean in (59.5, 59.6, 59.7):
        assert read_table(with_paper(tmp_path, numbers, given_mean)).rows[0].paper
    for given_mean in (59.4, 59.8):
        with pytest.raises(TableError, match=f"ours.paper: H.M. is {given_mean}, but .* is 59.6"):
            read_table(with_paper(tmp_path, numbers, given_mean))
    assert harmonic_mean({"seen/action_top1": 3.0}) is None


def test_rows_and_seeds_are_selected_by_label_pattern_or_number(tmp_path):
    table = read_table(written(tmp_path, GOOD))
    assert [r.label for r in table.select("Both*").rows] == ["Both, + FAME"]
    assert [r.label for r in table.select(["Both, + FAME", "One"]).rows] == ["One", "Both, + FAME"]
    assert table.select(seeds=5).seeds == (5,)
    assert table.select(seeds=[1, 1, 0]).seeds == (1, 0)
    with pytest.raises(TableError, match="has no row 'Onee'; did you mean One"):
        table.select("Onee")
    with pytest.raises(TableError, match="seeds must be whole numbers"):
        table.select(seeds=["x"])


LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1).filter(
    lambda text: text.strip() and "${" not in text and not set(text) & set("\n\r\x85\u2028\u2029")
)


@given(
    rows=st.dictionaries(
        LABELS,
        st.tuples(st.lists(st.sampled_from(sorted(DOCUMENTED)), max_size=2), st.floats(0, 100)),
        min_size=1,
        max_size=5,
    ),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
)
def test_whatever_is_written_is_read_back(tmp_path_factory, rows, seeds):
    content = GOOD | {
        "seeds": seeds,
        "rows": {
            label: {"overrides": " ".join(words), "paper": {"harmonic_mean": number}}
            for label, (words, number) in rows.items()
        },
    }
    path = tmp_path_factory.mktemp("x") / "t.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    table = read_table(path)
    assert table.seeds == tuple(seeds)
    assert [row.label for row in table.rows] == [*content["rows"]]
    for row, (words, number) in zip(table.rows, rows.values(), strict=True):
        assert row.overrides == tuple(" ".join(words).split())
        assert row.paper == {"harmonic_mean": number}


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["title", "rows", "columns", "seeds", "overrides", "paper", "base"]), inner
    ),
))  # fmt: skip
def test_any_other_content_is_read_or_refused_with_the_file(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("x") / "t.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        assert read_table(path).rows
    except TableError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_every_table_of_the_paper_has_its_file():
    names = {path.stem for path in FILES}
    assert names == {
        "synthetic", "synthetic_ablation", *(f"table{n}" for n in range(1, 6)),
        *(f"table6{letter}" for letter in "abcdefghi"),
    }  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_is_read_with_its_paper_s_numbers_checked(path):
    table = read_table(path)
    assert table.needs
    # What is read on a page is what runs.
    first = re.findall(r"devias tables run (\S+)", path.read_text())
    assert first == [f"experiments/{path.name}"]
    assert all(OVERRIDE.fullmatch(word) for row in table.rows for word in row.overrides)


def test_the_page_s_example_is_a_table(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", (EXPERIMENTS / "README.md").read_text(), re.S)
    table = read_table(written(tmp_path, text))
    assert table.rows[1].paper == {"harmonic_mean": 60.0}


def test_every_documented_row_stands_in_a_table():
    """Those of the pages are trained in `tests/test_rows.py`."""
    listed = {}
    for path in FILES:
        for row in read_table(path).rows:
            listed.setdefault(" ".join(row.overrides), path.stem)
    lists = (EXPERIMENTS / "baselines.md").read_text().split("Others that tell causes apart")
    others = set(re.findall(r"^\|.*\| `([^`]+)` \|$", lists[1], re.M))
    assert DOCUMENTED - others - listed.keys() <= {
        "model.slot_attention.softmax_axis=slots",  # these two are what the method has anyway
        "head=unified",
    }
    unknown = {words for words, table in listed.items() if table != "table5"} - DOCUMENTED
    assert unknown == {
        "masks=motion_em_small",
        "model.slot_attention.softmax_axis=slots head=unified",
    }
