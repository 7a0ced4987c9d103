import argparse
import json
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from devias.weights.read import WeightsError, read

STATE = {"a": torch.arange(3000.0), "b": torch.ones(2)}


def same(tensors):
    return tensors.keys() == STATE.keys() and all(torch.equal(tensors[k], STATE[k]) for k in STATE)


@pytest.mark.parametrize("wrapper", [None, "model", "module", "state_dict"])
@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_are_found_in_what_wraps_them(tmp_path, wrapper, zipped):
    content = {wrapper: STATE | {"step": 3}, "epoch": 7} if wrapper else STATE
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert same(read(tmp_path / "x.pth").tensors)


def test_a_released_command_line_is_read(tmp_path):
    content = {"model": STATE, "args": argparse.Namespace(nb_classes=101, output_dir="out")}
    torch.save(content, tmp_path / "x.pth")
    assert read(tmp_path / "x.pth").settings == {"nb_classes": 101, "output_dir": "out"}


def test_numbers_of_numpy_beside_the_weights_are_read_past(tmp_path):
    content = {"model": STATE, "accuracy": np.float64(0.5), "epoch": np.int64(99)}
    torch.save(content, tmp_path / "x.pth")
    assert same(read(tmp_path / "x.pth").tensors)


def test_an_architecture_is_read(tmp_path):
    architecture = {"type": "VideoViT"}
    torch.save({"state_dict": STATE, "architecture": architecture}, tmp_path / "x.ckpt")
    save_file(STATE, tmp_path / "x", metadata={"architecture": json.dumps(architecture)})
    for name in ("x.ckpt", "x"):  # the content tells, not the suffix
        file = read(tmp_path / name)
        assert same(file.tensors)
        assert file.architecture == architecture


def test_folders_in_one_file_or_several(tmp_path):
    (tmp_path / "config.json").write_text('{"num_frames": 8}')
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    file = read(tmp_path)
    assert same(file.tensors)
    assert file.settings == {"num_frames": 8}

    for name, tensor in STATE.items():
        save_file({name: tensor}, tmp_path / f"{name}.safetensors")
    index = {"weight_map": {name: f"{name}.safetensors" for name in STATE}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "pytorch_model.bin").unlink()
    assert same(read(tmp_path).tensors)


def test_hub_ids_are_fetched(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    (cache / "org" / "model").mkdir(parents=True)
    save_file(STATE, cache / "org" / "model" / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(cache / name))
    monkeypatch.chdir(tmp_path)
    assert same(read("org/model").tensors)


def test_a_hub_that_is_out_of_reach(tmp_path, monkeypatch):
    def fail(name, **_):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"org/model is neither .* no network"):
        read("org/model")


class Code:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


class Command:
    def __reduce__(self):
        return (os.system, ("exit 1",))


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write(kind, path):
    if kind == "web page":
        path.write_text("\n<!DOCTYPE html><html><body>Sign in</body></html>")
    elif kind == "pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("hello, this is no weight file at all\n" * 9)
    elif kind == "code":
        torch.save({"model": STATE, "extra": Code()}, path)
    elif kind == "command":
        torch.save({"model": STATE, "extra": Command()}, path)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Code()))
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "no tensors":
        torch.save({"model": {}}, path)
    else:
        {
            "zip": lambda: torch.save(STATE, path),
            "legacy": lambda: torch.save(STATE, path, _use_new_zipfile_serialization=False),
            "safetensors": lambda: save_file(STATE, path),
        }[kind]()
        truncate(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("web page", "is a web page, not weights.*MODEL_ZOO.*KHU-VLL/DEVIAS"),
        ("pointer", "is a Git LFS pointer"),
        ("empty", "is empty"),
        ("text", "is truncated or not a weight file"),
        ("code", r"is refused: it holds Python objects \(exec\)"),
        ("command", r"is refused: it holds Python objects \(posix.system\)"),
        ("pickle", "is refused: it holds a bare pickle"),
        ("list", "holds a list, not a state dict"),
        ("no tensors", "holds no tensors"),
        ("zip", "is truncated or not a weight file"),
        ("legacy", "is truncated or not a weight file"),
        ("safetensors", "is damaged or truncated"),
    ],
)
def test_files_that_are_no_weights_are_named(tmp_path, kind, message):
    path = tmp_path / "x.pth"
    write(kind, path)
    with pytest.raises(WeightsError, match=f"x.pth {message}"):
        read(path)


@pytest.mark.parametrize("name", ["x.pth", "weights/x.pth"])
def test_missing_files_say_what_to_fetch_from_where_and_where_to_put_it(
    tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        read(name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name} does not exist. VideoMAE weights are linked from")
    assert message.endswith(
        "download the file to this place, or name in the configuration where you have it"
    )


def test_weights_that_do_not_ship_with_the_package():
    with pytest.raises(FileNotFoundError, match=r"package:no\.safetensors does not ship .* there"):
        read("package:no.safetensors")


def test_folders_without_weights(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds neither model.safetensors nor"):
        read(tmp_path / "folder")
