import fcntl
import json
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import av
import pytest

from devias.data.datasets.synthetic import build as builder
from devias.data.datasets.synthetic.annotations import read_split
from devias.data.datasets.synthetic.build import build
from devias.data.datasets.synthetic.plan import SyntheticSettings
from devias.data.mask_files import read_masks
from devias.errors import DeviasError

SETTINGS = SyntheticSettings(
    clips={
        "train": 9,
        "val_seen": 2,
        "val_unseen": 2,
        "test_seen": 0,
        "test_unseen": 3,
        "scene_only": 2,
    }
)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def leftovers(root):
    """Whatever lies beside the data sets and their lock files."""
    return [
        p for p in root.iterdir() if p.suffix != ".lock" and not p.name.startswith("synthetic-")
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built"), SETTINGS, workers=2)


def test_every_annotated_video_and_mask_is_there_and_nothing_else(built):
    drawn = [split for split, clips in SETTINGS.clips.items() if clips]
    records = [record for split in drawn for record in read_split(built, split)]
    assert len(records) == 18
    assert {record.path for record in records} == set(built.glob("videos/*/*"))
    assert {record.masks for record in records} == set(built.glob("masks/*/*"))
    for record in records:
        assert read_masks(record.masks).any() == (record.action >= 0)
        with av.open(str(record.path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 20
    assert json.loads((built / "manifest.json").read_text()) == SETTINGS.manifest()
    assert not leftovers(built.parent)


def test_the_number_of_workers_changes_nothing(built, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "CHUNK", 5)
    assert contents(build(tmp_path, SETTINGS, workers=1)) == contents(built)


def test_a_clip_is_the_same_in_a_larger_data_set(built, tmp_path):
    clips = {**SETTINGS.clips, "train": 11, "test_unseen": 0}
    larger = build(tmp_path, SyntheticSettings(clips=clips), workers=1)
    name = "videos/waving/v_waving_g01_c002.mp4"
    assert (larger / name).read_bytes() == (built / name).read_bytes()


def test_a_second_run_reuses_the_folder(built, monkeypatch):
    monkeypatch.setattr(builder, "_build", lambda *_: pytest.fail("drawn again"))
    assert build(built.parent, SETTINGS) == built


def _fail(*_):
    raise OSError("disk full")


def test_a_failed_run_leaves_nothing_and_the_next_succeeds(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "write_clip", _fail)
    with pytest.raises(OSError, match="disk full"):
        build(tmp_path, SETTINGS, workers=1)
    assert not leftovers(tmp_path)
    assert not list(tmp_path.glob("synthetic-*"))
    monkeypatch.undo()
    assert build(tmp_path, SETTINGS, workers=1).is_dir()


def _hang(*_):
    time.sleep(60)


def _build_and_hang(root):
    builder.write_clip = _hang
    build(root, SETTINGS, workers=2)


def test_after_a_killed_run_the_next_starts_afresh(tmp_path):
    run = multiprocessing.get_context("fork").Process(target=_build_and_hang, args=(tmp_path,))
    run.start()
    partial = tmp_path / f".{SETTINGS.folder_name}.partial"
    while not (partial / "masks" / "waving").exists():
        time.sleep(0.01)
    time.sleep(0.2)  # let the workers start
    run.kill()
    run.join()
    assert partial.exists()
    (partial / "stray").touch()
    with ThreadPoolExecutor() as pool:
        folder = pool.submit(build, tmp_path, SETTINGS, workers=1).result(timeout=20)
    assert not (folder / "stray").exists()
    assert not leftovers(tmp_path)


def test_a_folder_with_another_manifest_is_an_error(tmp_path):
    folder = tmp_path / SETTINGS.folder_name
    folder.mkdir()
    with pytest.raises(DeviasError, match=r"manifest\.json is missing.*Delete the folder"):
        build(tmp_path, SETTINGS)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(DeviasError, match=SETTINGS.folder_name):
        build(tmp_path, SETTINGS)


def test_a_concurrent_run_waits_for_the_lock(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(builder, "_draw_all", lambda *_: drawn.append(1))
    with (tmp_path / f".{SETTINGS.folder_name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=build, args=(tmp_path, SETTINGS))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert not drawn
    waiting.join(10)
    assert drawn == [1]
    assert (tmp_path / SETTINGS.folder_name).is_dir()


def _build_and_report(root, barrier, results):
    barrier.wait()
    folder = build(root, SETTINGS, workers=1)
    results.put((folder / "manifest.json").stat().st_ino)


def test_two_processes_build_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (tmp_path, barrier, results)
    runs = [context.Process(target=_build_and_report, args=arguments) for _ in range(2)]
    for run in runs:
        run.start()
    inodes = [results.get(timeout=60) for _ in runs]
    for run in runs:
        run.join(10)
    assert inodes[0] == inodes[1]
    assert not leftovers(tmp_path)
