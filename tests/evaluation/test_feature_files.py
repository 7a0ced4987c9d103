"""Features in chunks and as tables."""

import json

import numpy as np
import pytest

from devias.evaluation.feature_files import (
    COLUMNS,
    FeatureChunks,
    FeatureFileError,
    VideoFeatures,
    check_output,
    write_features,
)
from devias.parquet import read_parquet, to_numpy

VIDEOS, WIDTH = 7, 3


def features(numbers):
    numbers = np.asarray(numbers, np.int64)
    columns = {name: numbers * 10 + i for i, name in enumerate(COLUMNS)}
    for name in ("action_feature", "scene_feature"):
        columns[name] = (columns[name][:, None] + np.arange(WIDTH) / 8).astype(np.float32)
    for name in ("action_confidence", "scene_confidence"):
        columns[name] = columns[name].astype(np.float32)
    return VideoFeatures(numbers, columns)


def chunks_in(folder, **settings):
    return FeatureChunks(folder, {"videos": VIDEOS, "chunk_size": 3, **settings})


@pytest.fixture
def filled(tmp_path):
    """Of seven videos the third and the last, a chunk of its own, cannot be read."""
    chunks = chunks_in(tmp_path / "chunks")
    half = features([0, 1])
    chunks.write(0, VideoFeatures.joined([half], "float16"), {2: "torn"})
    chunks.write(1, VideoFeatures.joined([features([3, 4]), features([5])], "float16"), {})
    chunks.write(2, VideoFeatures.joined([], "float16"), {6: "gone"})
    return chunks


def test_a_stopped_extraction_continues_with_what_is_missing(tmp_path):
    chunks = chunks_in(tmp_path)
    assert [list(chunks.videos_of(n)) for n in chunks.missing()] == [[0, 1, 2], [3, 4, 5], [6]]
    chunks.write(1, features([3, 4, 5]), {})
    assert chunks_in(tmp_path).missing() == [0, 2]
    assert chunks_in(tmp_path, model="another").missing() == [0, 1, 2]


def test_chunks_come_back_in_order_without_the_unreadable(filled):
    parts = list(filled.read())
    assert [part.number.tolist() for part in parts] == [[0, 1], [3, 4, 5]]
    assert parts[1].columns["scene"].tolist() == [31, 41, 51]
    assert parts[1].columns["scene_feature"].dtype == np.float16
    assert parts[1].columns["scene_feature"][2].tolist() == [53, 53.125, 53.25]
    assert filled.unreadable() == {2: "torn", 6: "gone"}


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_a_table_holds_ids_and_what_it_is_of(tmp_path, filled, suffix):
    path = tmp_path / "out" / f"table{suffix}"
    ids = [f"ä/{n}.avi" for n in range(VIDEOS)]
    write_features(path, filled, ids, {"split": "test"})
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        told = json.loads(str(columns.pop("metadata")))
    else:
        table = read_parquet(path)
        columns = {name: to_numpy(table, name) for name in table.column_names}
        told = json.loads(table.schema.metadata[b"devias"])
    assert told == {"split": "test", "unreadable": {"ä/2.avi": "torn", "ä/6.avi": "gone"}}
    assert set(columns) == {"id", *COLUMNS}
    assert columns["id"].tolist() == [ids[n] for n in (0, 1, 3, 4, 5)]
    expected = features([0, 1, 3, 4, 5]).columns
    for name in COLUMNS:
        np.testing.assert_array_equal(columns[name], expected[name])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(FeatureFileError, match=r"x\.csv: the output's name must end in \.parquet"):
        check_output(tmp_path / "x.csv", overwrite=False)
    (tmp_path / "x.npz").write_text("precious")
    with pytest.raises(FeatureFileError, match=r"x\.npz exists; overwrite=true"):
        check_output(tmp_path / "x.npz", overwrite=False)
    check_output(tmp_path / "x.npz", overwrite=True)
    chunks = FeatureChunks(tmp_path, {"videos": 1, "chunk_size": 1})
    chunks.write(0, VideoFeatures.joined([], "float32"), {0: "torn"})
    with pytest.raises(FeatureFileError, match="none of the videos could be read"):
        write_features(tmp_path / "y.npz", chunks, ["a"], {})
    assert not (tmp_path / "y.npz").exists()


def test_a_folder_that_another_process_removed_is_not_there(filled):
    with filled.locked() as present:
        assert present
        filled.remove()
    with filled.locked() as present:
        assert not present
