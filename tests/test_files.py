import pytest

from devias.files import atomic_path, write_text
from devias.reporting.plots.style import new_figure, save_figure


def test_folders_are_made_and_text_is_written_as_it_is(tmp_path):
    path = tmp_path / "a" / "b.csv"
    write_text(path, "Größe\n±\r\n")
    assert path.read_bytes() == "Größe\n±\r\n".encode()


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_half_way():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_figures_are_saved_in_the_format_of_the_suffix(tmp_path, suffix, magic):
    path = tmp_path / "figures" / f"one.{suffix}"
    save_figure(new_figure(1, 1), path)
    assert path.read_bytes().startswith(magic)
    assert list(path.parent.iterdir()) == [path]


def test_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match="xyz"):
        save_figure(new_figure(1, 1), tmp_path / "one.xyz")
    assert not list(tmp_path.iterdir())
