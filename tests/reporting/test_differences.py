from devias.reporting.differences import config_differences


def write(folder, text):
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    return folder


def test_only_settings_that_differ_and_matter_are_listed(tmp_path):
    runs = {
        "a": write(tmp_path / "a", "model: {k: 2, m: [1, 2]}\nseed: 0\npaths: {run_dir: x}\n"),
        "b": write(tmp_path / "b", "model: {k: 3, m: [1, 2]}\nseed: 0\npaths: {run_dir: y}\n"),
        "c": write(tmp_path / "c", "model: {m: [1, 2]}\nseed: 0\nloss: null\n"),
    }
    assert config_differences(runs) == [["model.k", "2", "3", "–"], ["loss", "–", "–", "None"]]


def test_a_run_without_a_readable_configuration_says_nothing(tmp_path):
    runs = {"a": write(tmp_path / "a", "x: [1"), "b": tmp_path / "none"}
    assert config_differences(runs) == []
