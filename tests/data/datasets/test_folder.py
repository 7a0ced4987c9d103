import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devias.cli.evaluate import evaluate_checkpoint
from devias.cli.train import train
from devias.config import compose
from devias.data.annotations import AnnotationError
from devias.data.datamodule import MissingDataError
from devias.data.datasets.folder import SHARES, Folder, draw_split, find_videos, source_name
from devias.errors import ConfigError
from devias.parquet import ParquetError, write_parquet
from devias.reporting.results import RunResult
from devias.structures import UNKNOWN
from devias.training.preflight import MissingError
from helpers import write_frames


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path, *rows: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "videos.csv").write_text("\n".join(rows))
    return root


def names(data: Folder, split: str) -> set[str]:
    return {str(record.path.relative_to(data.videos)) for record in data.records(split)}


def test_folders_are_classes(tmp_path):
    root = touch(
        tmp_path,
        *(f"wave/{person}_{clip}.MP4" for person in "abcdefghij" for clip in (1, 2)),
        *("jump high/x.avi", "jump high/.hidden.avi", "jump high/notes.txt", "notes/list.txt"),
        *("jump high/stills/frame1.jpg", "loose.mp4"),
    )
    data = Folder(str(root))
    assert data.action_names == ["jump high", "wave"]
    records = [record for split in data.splits for record in data.records(split)]
    assert sum(record.action == 1 for record in records) == 20
    stills = {record.path.name for record in records if record.action == 0}
    assert stills == {"x.avi", "stills"}
    assert (data.num_actions, data.num_scenes) == (2, 365)
    assert {record.scene for record in records} == {UNKNOWN}
    counts = [sum(r.action == 1 for r in data.records(split)) for split in data.splits]
    assert counts == [14, 2, 4]  # of ten groups of two, 20 % test and 10 % validation


def test_splits_that_are_given_are_kept_and_others_drawn_from_training(tmp_path):
    root = touch(
        tmp_path,
        *(f"train/{action}/{source}.mp4" for action in "ab" for source in "pqrst"),
        *("test/a/p.mp4", "test/c/z.mp4"),
    )
    data = Folder(str(root))
    assert data.action_names == ["a", "b", "c"]  # of all splits
    assert names(data, "test") == {"test/a/p.mp4", "test/c/z.mp4"}
    assert len(data.records("val")) == 2
    assert len(data.records("train")) == 8
    assert names(data, "val") | names(data, "train") == {
        f"train/{action}/{source}.mp4" for action in "ab" for source in "pqrst"
    }


def test_a_class_may_be_called_as_a_split(tmp_path):
    touch(tmp_path, "train/engine.mp4", "car/red.mp4")
    assert [(v.action, v.split) for v in find_videos(tmp_path)] == [("car", ""), ("train", "")]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (("validation/a/p.mp4", "train/a/q.mp4"), "validation holds folders of videos, but is non"),
        (("a/p.mp4", "train/a/q.mp4"), "lies as <class>/<file>, but"),
    ],
)
def test_folders_that_are_neither_layout(tmp_path, files, why):
    with pytest.raises(ConfigError, match=why):
        Folder(str(touch(tmp_path, *files))).records("train")


def test_a_list(tmp_path):
    root = touch(tmp_path, "a.mp4", "sub/b, c.mp4", "d.mp4")
    listed(
        root,
        "\ufeffsplit,path,action,scene,start,end,notes",
        "train,a.mp4,run,beach,,,x",
        'test,"sub/b, c.mp4",walk,,1.5,2,',
        "val,d.mp4,run, street,,3,",
    )
    data = Folder(str(root))
    assert (data.action_names, data.scene_names) == (["run", "walk"], ["beach", "street"])
    (train,), (val,), (test,) = (data.records(split) for split in data.splits)
    assert (train.path, train.action, train.scene) == (root / "a.mp4", 0, 0)
    assert (train.start, train.end, train.source) == (None, None, f"{root}/videos.csv:2")
    assert (test.path, test.action, test.scene) == (root / "sub/b, c.mp4", 1, UNKNOWN)
    assert (test.start, test.end) == (1.5, 2)
    assert (val.scene, val.start, val.end) == (1, None, 3)
    assert (data.num_actions, data.num_scenes) == (2, 2)


def test_segments_of_a_file_stay_together(tmp_path):
    root = touch(tmp_path, *(f"{name}.mp4" for name in "pqrst"))
    rows = [f"{n}.mp4,{a},{s},{s + 1}" for n in "pqrst" for s, a in enumerate(["run", "walk"] * 2)]
    data = Folder(str(listed(root, "path,action,start,end", *rows)), group="file")
    paths = [names(data, split) for split in data.splits]
    assert [len(some) for some in paths] == [3, 1, 1]
    assert len(set().union(*paths)) == 5
    assert len(data.records("train")) == 12


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("b.mp4,run", "2 fields, but the header has 5"),
        ("b.mp4,,,,train", "no action"),
        ("b.mp4,run,,,", "expected the split to be train, val, test, got ''"),
        ("b.mp4,run,,,dev", "expected the split to be .* got 'dev'"),
        ("b.mp4,run,2,1,train", "ends at 1.0 s, before it starts"),
        ("b.mp4,run,x,,train", "'x' is no time"),
        ("b.mp4,run,-1,,train", "'-1' is no time"),
        ("b.mp4,run,nan,,train", "'nan' is no time"),
        ("../b.mp4,run,,,train", "expected a path below"),
        ("/b.mp4,run,,,train", "expected a path below"),
        ('"b.mp4,run,,,train', "quotes that do not match"),
        ("./a.mp4,run,,,test", r"the same video as in .*videos\.csv:2"),
    ],
)
def test_list_errors_name_file_and_line(tmp_path, row, why):
    root = listed(tmp_path, "path,action,start,end,split", "a.mp4,run,,,train", row)
    with pytest.raises(AnnotationError, match=rf"videos\.csv, line 3: .*{why}"):
        Folder(str(root)).records("train")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("a.mp4,run", "line 1: the header lacks path, action, got"),
        ("path;action", "line 1: the header lacks path, action, got"),
        ("path,action,path", "line 1: the header names a column twice"),
        (
            "path,action,scenes\nb.mp4,run,",
            r"videos\.csv: unknown column 'scenes'; did you mean",
        ),
        ("path,action", "the list is empty"),
    ],
)
def test_header_errors(tmp_path, header, why):
    with pytest.raises(AnnotationError, match=why):
        Folder(str(listed(tmp_path, header))).records("train")


def test_a_parquet_list(tmp_path):
    root = touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    columns = {
        "split": ["train", "val", "test"],
        "path": ["a.mp4", "./b.mp4", "c.mp4"],
        "action": ["run", "walk", "run"],
        "scene": ["beach", None, ""],
        "start": np.array([np.nan, 1.5, 0.0]),
        "end": [None, 2, 3],
        "features": [[1.0], [2.0], [3.0]],
    }
    write_parquet(root / "videos.parquet", columns)
    data = Folder(str(root))
    assert (data.action_names, data.scene_names) == (["run", "walk"], ["beach"])
    (train,), (val,), (test,) = (data.records(split) for split in data.splits)
    assert (train.path, train.scene, train.start, train.end) == (root / "a.mp4", 0, None, None)
    assert train.source == f"{root}/videos.parquet, row 1"
    assert (val.path, val.action, val.scene) == (root / "b.mp4", 1, UNKNOWN)
    assert (val.start, val.end, test.start) == (1.5, 2, 0)
    # Elsewhere under another name, and a list of the usual name is preferred.
    (root / "videos.parquet").rename(root / "mine.parquet")
    assert Folder(str(root), annotations=str(root / "mine.parquet")).found[1].name == "b.mp4"
    listed(root, "path,action", "a.mp4,jump")
    (root / "mine.parquet").rename(root / "videos.parquet")
    assert Folder(str(root)).action_names == ["jump"]


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"path": ["a.mp4", "../b.mp4"], "action": ["a", "b"]}, ", row 2: expected a path below"),
        ({"path": ["a.mp4", "b.mp4"], "action": ["a", None]}, ", row 2: no action"),
        ({"path": ["a.mp4", "a.mp4"], "action": [1, 1]}, ", row 2: the same video as in .*row 1"),
        ({"path": ["a.mp4"], "action": [[1]]}, r", row 1: expected text or a number, got \[1\]"),
        ({"path": ["a.mp4"]}, ": no column 'action' among path"),
        ({"path": ["a.mp4"], "action": ["a"], "scenes": [1]}, ": unknown column 'scenes'; did you"),
        ({"path": [], "action": []}, ": the list is empty"),
    ],
)
def test_parquet_errors_name_file_and_row(tmp_path, columns, why):
    write_parquet(tmp_path / "videos.parquet", columns)
    with pytest.raises(AnnotationError, match=rf"videos\.parquet{why}"):
        Folder(str(tmp_path)).records("train")


def test_what_is_no_parquet_table_is_named(tmp_path):
    (tmp_path / "videos.parquet").write_text("path,action")
    with pytest.raises(ParquetError, match=r"videos\.parquet: no Parquet table"):
        Folder(str(tmp_path)).records("train")


def test_class_counts_are_those_of_the_data_unless_given(tmp_path):
    root = listed(tmp_path, "path,action,scene", "a.mp4,run,s", "b.mp4,walk,t", "c.mp4,walk,u")
    data = Folder(str(root))
    assert (data.num_actions, data.num_scenes) == (2, 3)
    data = Folder(str(root), num_actions=5, num_scenes=7)
    assert (data.num_actions, data.num_scenes) == (5, 7)


def test_missing_data_say_how_videos_are_laid_out(tmp_path):
    for settings in ({}, {"annotations": str(tmp_path / "other.csv")}):
        data = Folder(str(tmp_path), **settings)
        with pytest.raises(MissingDataError, match=r"<train.val.test>/<class>/<file>.*data\.root"):
            data.records("train")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("v_Basketball_g01_c02.avi", "v_Basketball_g01"),
        ("walk-3.mp4", "walk"),
        ("walk (2).mp4", "walk"),
        ("walk_part1.mp4", "walk"),
        ("--07WQ2iBlw_000001_000011.mp4", "--07WQ2iBlw"),
        ("walk2.mp4", "walk2"),
        ("take.one.mov", "take.one"),
        ("stills_7", "stills"),
        ("0012.mp4", "a/0012.mp4"),
    ],
)
def test_names_of_sources(name, source):
    assert source_name(f"a/{name}") == source


@given(
    videos=st.lists(st.tuples(st.sampled_from("pqrstuvwxyz"), st.sampled_from("abcd")), min_size=1),
    seed=st.integers(0, 100),
)
def test_every_class_keeps_a_group_in_training(videos, seed):
    split = draw_split(videos, SHARES, seed)
    assert split == draw_split(videos[::-1], SHARES, seed)
    assert split.keys() == {group for group, _ in videos}
    trained = {name for group, name in videos if split[group] == "train"}
    assert trained == {name for _, name in videos}


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4), seed=st.integers(0, 100))
def test_classes_of_their_own_groups_are_shared_out_exactly(sizes, seed):
    videos = [
        (f"{name}{k}", name) for name, n in zip("abcd", sizes, strict=False) for k in range(n)
    ]
    split = draw_split(videos, SHARES, seed)
    for name, size in zip("abcd", sizes, strict=False):
        counts = [[split[g] for g, c in videos if c == name].count(s) for s in ("test", "val")]
        test = min(size - 1, max(1, round(0.2 * size)))
        assert counts == [test, min(size - 1 - test, max(1, round(0.1 * size)))]


@given(
    stems=st.lists(
        st.from_regex(r"[ab]{1,2}[_-][cx]?[0-9]{1,2}", fullmatch=True), min_size=2, unique=True
    ),
    seed=st.integers(0, 9),
)
def test_sources_never_straddle(tmp_path_factory, stems, seed):
    root = tmp_path_factory.mktemp("own")
    touch(root, *(f"{'wave' if len(stem) % 2 else 'jump'}/{stem}.mp4" for stem in stems))
    data, again = (Folder(str(root), split_seed=seed) for _ in range(2))
    assert data.split_of == again.split_of
    splits = defaultdict(set)
    for video, split in zip(data.found, data.split_of, strict=True):
        splits[source_name(video.name)].add(split)
    assert all(len(some) == 1 for some in splits.values())


def test_the_draw_is_the_same_wherever_the_videos_lie(tmp_path, monkeypatch):
    files = ("1.mp4", "7.mp4", "a.mp4", "z.mp4", "é.mp4", "Q.mp4", "c.mp4")
    for name in ("here", "there"):
        touch(tmp_path / name, *(f"wave/{file}" for file in files))
    monkeypatch.chdir(tmp_path)
    here, there = Folder(str(tmp_path / "here")), Folder("there")
    assert [names(here, split) for split in here.splits] == [
        names(there, split) for split in there.splits
    ]


def test_another_seed_draws_another_split(tmp_path):
    root = touch(tmp_path, *(f"wave/{chr(97 + k)}.mp4" for k in range(20)))
    assert len({frozenset(names(Folder(str(root), split_seed=s), "test")) for s in range(5)}) > 1


def test_numbered_videos_are_one_source_unless_said_otherwise(tmp_path):
    root = touch(
        tmp_path, *(f"{name}/{name}_{k}.mp4" for name in ("run", "walk") for k in range(9))
    )
    with pytest.raises(ConfigError, match=r"no video for test .*2 actions: run, walk.*group=file"):
        Folder(str(root)).records("test")
    data = Folder(str(root), group="file")
    assert [len(data.records(split)) for split in data.splits] == [12, 2, 4]


def test_validation_reads_the_test_videos_where_too_few_are_left(tmp_path):
    data = Folder(str(touch(tmp_path, "run/a.mp4", "run/b.mp4")))
    assert names(data, "val") == names(data, "test")
    assert "validation, which reads the test videos" in data.describe()


# Whole runs.


def videos(root: Path, *names: str) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        frames = [rng.integers(0, 255, (20, 26, 3), dtype=np.uint8) for _ in range(6)]
        write_frames(root / name, frames)
    return root


def configured(folder: Path, *overrides: str):
    return compose(
        "experiment=own",
        f"data.root={folder / 'data'}",
        f"paths.run_dir={folder / 'run'}",
        "logger=csv",
        "global_batch=2",
        "data.image_size=32",
        "data.clip_length=4",
        "data.num_workers=0",
        "backbone.embed_dim=24",
        "backbone.depth=2",
        "backbone.num_heads=2",
        "backbone.weights=null",
        "trainer.max_epochs=1",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        *overrides,
    )


LAYOUTS = {
    "classes": [f"{name}/{k}_c1.mp4" for name in ("run", "walk") for k in "pqrs"],
    "splits": [
        f"{s}/{n}/{k}.mp4" for s in ("train", "val", "test") for n in ("a", "b") for k in "p"
    ],
    "list": [f"{k}.mp4" for k in "pqrstuvw"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_run_on_each_layout(tmp_path, layout, caplog):
    files = LAYOUTS[layout]
    root = videos(tmp_path / "data", *files)
    if layout == "list":
        rows = [f"{n},{'run' if k % 2 else 'walk'},s{k % 3}" for k, n in enumerate(files)]
        listed(root, "path,action,scene", *rows)
    with caplog.at_level(logging.INFO):
        metrics = train(configured(tmp_path))
    assert metrics["seen/action_top1"] * 2 in range(3)  # two videos of test
    assert ("seen/scene_top1" in metrics) == (layout == "list")
    assert RunResult.load(tmp_path / "run" / "result.json").protocol == "own"
    said = [r.getMessage() for r in caplog.records if "2 actions: " in r.getMessage()]
    assert len(said) == 1
    assert ("data.split_seed=0" in said[0]) == (layout != "splits")
    # The checkpoint knows its classes: it can be tested and continued.
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    again = evaluate_checkpoint(checkpoint, [], tmp_path / "again")
    assert again.metrics.keys() == metrics.keys()
    train(configured(tmp_path, "trainer.max_epochs=2", "ckpt_path=last"))


def test_a_wrong_number_of_classes_is_refused_with_the_right_one(tmp_path):
    videos(tmp_path / "data", *LAYOUTS["classes"])
    with pytest.raises(ConfigError, match=r"name 2 action classes, but data\.num_actions=3"):
        train(configured(tmp_path, "data.num_actions=3"))


def test_no_videos_are_said_before_anything_starts(tmp_path):
    with pytest.raises(MissingError, match=r"1 thing is missing for this run:\n1\. data: "):
        train(configured(tmp_path))
    assert list(tmp_path.iterdir()) == []
