from pathlib import Path

import pytest

from devias.config import config_dir
from devias.sweeps.space import Parameter, SpaceError, read_space
from helpers import write_text

SPACES = sorted(path.stem for path in Path(config_dir(), "hparams_search").glob("*.yaml"))


def space(folder, parameters, more=""):
    return read_space(str(write_text(folder / "mine.yaml", f"{more}\nparameters: {parameters}\n")))


def test_a_space_says_what_is_varied_and_for_what(tmp_path):
    found = space(
        tmp_path,
        "{optim.base_lr: {float: [1e-4, 1], log: true}, n.k: {int: [2, 6], step: 2},"
        " augment: {choice: [fame, none, null]}}",
        "base: experiment=synthetic seed=3\ntrials: [trainer.max_epochs=2]",
    )
    assert (found.name, found.base) == ("mine", ("experiment=synthetic", "seed=3"))
    assert found.trials == ("trainer.max_epochs=2",)
    rate, count, augment = found.parameters
    assert rate == Parameter("optim.base_lr", "float", low=1e-4, high=1.0, log=True)
    assert type(rate.high) is float  # not the whole number of the file
    assert count == Parameter("n.k", "int", low=2, high=6, step=2)
    assert augment.choices == ("fame", "none", None)


def test_the_corners_hold_every_end_and_every_choice(tmp_path):
    found = space(tmp_path, "{a: {int: [2, 6]}, b: {choice: [x, y, z]}}")
    assert list(found.corners()) == [{"a": 2, "b": "x"}, {"a": 6, "b": "y"}, {"a": 6, "b": "z"}]


def test_a_grid_has_all_combinations(tmp_path):
    found = space(
        tmp_path, "{a: {int: [2, 3]}, b: {choice: [x, y]}, c: {float: [0.1, 0.35], step: 0.1}}"
    )
    grid = list(found.grid())
    assert len(grid) == len({tuple(values.items()) for values in grid}) == 12
    assert {values["c"] for values in grid} == {0.1, 0.2, 0.3}  # not 0.30000000000000004


def test_a_range_without_a_step_has_no_grid(tmp_path):
    with pytest.raises(SpaceError, match="a grid needs a step, or choices, for a"):
        list(space(tmp_path, "{a: {float: [0, 1]}}").grid())


def test_overrides_are_words_that_hydra_takes(tmp_path):
    found = space(tmp_path, "{x.a: {choice: [true, null, 'a, b', 1.5]}, b: {float: [0, 1]}}")
    words = [found.parameters[0].override(value) for value in (True, None, "a, b", 1.5)]
    assert words == ["x.a=true", "x.a=null", "x.a='a, b'", "x.a=1.5"]
    assert found.overrides({"x.a": 1.5, "b": 1e-05}) == ["x.a=1.5", "b=1e-05"]


def test_long_numbers_are_cut_those_on_steps_put_right():
    assert Parameter("a", "float").tidy(0.0012345678) == 0.001235
    assert Parameter("a", "float", step=0.1).tidy(0.30000000000000004) == 0.3
    assert Parameter("a", "choice").tidy("text") == "text"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("{}", "parameters must map"),
        ("{a: 3}", "parameters.a must map float, int, choice, log, step"),
        ("{a: {flaot: [0, 1]}}", "unknown key 'flaot'; did you mean float"),
        ("{a: {float: [0, 1], int: [0, 1]}}", "a must have one of"),
        ("{a: {float: [1, 0]}}", "a.float must be two numbers, lower and higher"),
        ("{a: {float: [0, .inf]}}", "must be two numbers"),
        ("{a: {int: [0.5, 2]}}", "a.int must be two numbers"),
        ("{a: {int: [false, true]}}", "a.int must be two numbers"),
        ("{a: {float: [0, 1], log: true}}", "a logarithmic range must be above 0"),
        ("{a: {float: [1, 2], log: true, step: 1}}", "a.step must be .* none where log"),
        ("{a: {float: [1, 2], step: 0}}", "a.step must be a number above 0"),
        ("{a: {choice: [x]}}", "a.choice must be a list of different values, two or more"),
        ("{a: {choice: [x, x]}}", "different values"),
        ("{a: {choice: [[1], [2]]}}", "different values"),
        ("{a: {choice: [1, 2], log: true}}", "a choice has neither log nor step"),
        ("{'a b': {int: [0, 1]}}", "'a b' is no key"),
        ("{paths.run_dir: {choice: [a, b]}}", "paths.run_dir is set by the search itself"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(tmp_path, parameters, said):
    with pytest.raises(SpaceError, match=f"mine.yaml: .*{said}"):
        space(tmp_path, parameters)


def test_unknown_files_keys_and_texts_are_told(tmp_path):
    with pytest.raises(SpaceError, match=r"no space 'synthetik'; did you mean synthetic"):
        read_space("synthetik")
    with pytest.raises(FileNotFoundError):
        read_space(str(tmp_path / "none.yaml"))
    with pytest.raises(SpaceError, match="unknown key 'experiment'"):
        space(tmp_path, "{a: {int: [0, 1]}}", "experiment: x")
    with pytest.raises(SpaceError, match="base must be overrides"):
        space(tmp_path, "{a: {int: [0, 1]}}", "base: {a: 1}")
    with pytest.raises(SpaceError, match=r"mine.yaml"):
        space(tmp_path, "{a: [")


@pytest.mark.parametrize("name", SPACES)
def test_every_shipped_space_is_read(name):
    assert read_space(name).base
