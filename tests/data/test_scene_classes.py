import pytest

from devias.data.annotations import AnnotationError
from devias.data.scene_classes import read_categories


def test_categories(tmp_path):
    path = tmp_path / "categories.txt"
    path.write_bytes(b"/a/airfield 0\r\n/a/apartment_building/outdoor 1\r\n")
    assert read_categories(path) == ["airfield", "apartment_building/outdoor"]
    path.write_text("/a/airfield 1\n")
    with pytest.raises(AnnotationError, match=r"categories\.txt: class ids have gaps"):
        read_categories(path)
    path.write_text("airfield 0\n")
    with pytest.raises(AnnotationError, match="line 1: expected '/<letter>/<name> <label>'"):
        read_categories(path)


def test_the_official_categories(shared):
    names = read_categories(shared / "data/annotations/places365/categories_places365.txt")
    assert (len(names), names[0], names[364]) == (365, "airfield", "zen_garden")
