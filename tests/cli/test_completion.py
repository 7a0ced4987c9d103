import pytest

from devias import cli


def suggested(line, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", line)
    cli.main(["-sc", "query=bash"])
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("devias ", [*cli.COMMANDS]),
        ("devias  tr", ["train", "transcode"]),
        ("devias train exp", ["experiment="]),
        ("devias  train  loss=devias head=s", ["head=separate"]),
        ("devias evaluate checkp", ["checkpoint="]),
        ("devias train experiment=nothing_l", []),
        ("devias unknown seed", []),
    ],
)
def test_the_rest_of_a_word_is_suggested(line, expected, monkeypatch, capsys):
    assert suggested(line, monkeypatch, capsys) == expected


def test_a_blank_begins_another_word(monkeypatch, capsys):
    assert "seed=" in suggested("devias train model=devias ", monkeypatch, capsys)


@pytest.mark.parametrize("flag", ["-sc", "--shell-completion"])
def test_the_scripts_are_for_the_program(flag, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/devias"])
    cli.main([flag, "install=bash"])
    script = capsys.readouterr().out
    assert "-sc query=bash" in script
    assert script.splitlines()[-1].endswith("hydra_bash_completion devias")


@pytest.mark.parametrize("words", [[], ["bash"], ["install=bash", "install=fish"]])
def test_a_request_without_a_shell_is_answered_with_one_that_works(words):
    with pytest.raises(SystemExit, match="devias -sc install=bash"):
        cli.main(["-sc", *words])
