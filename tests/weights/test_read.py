import argparse
import codecs
import json
import os
import pickle
import random
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from devias.errors import DeviasError
from devias.weights.read import WeightsError, read

STATE = {"a": torch.arange(3000.0), "b": torch.ones(2)}


def same(tensors):
    return tensors.keys() == STATE.keys() and all(torch.equal(tensors[k], STATE[k]) for k in STATE)


WRAPPERS = ["model", "module", "state_dict", "model_state_dict", "state_dict_ema", "model_ema"]
WRAPPERS += ["net", "network", "ema", "teacher", "a name of their own"]


@pytest.mark.parametrize("wrapper", [None, *WRAPPERS])
@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_are_found_in_what_wraps_them(tmp_path, wrapper, zipped):
    content = {wrapper: STATE | {"step": 3}, "epoch": 7} if wrapper else STATE
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert same(read(tmp_path / "x.pth").tensors)


def test_a_released_command_line_is_read(tmp_path):
    content = {"model": STATE, "args": argparse.Namespace(nb_classes=101, output_dir="out")}
    torch.save(content, tmp_path / "x.pth")
    assert read(tmp_path / "x.pth").settings == {"nb_classes": 101, "output_dir": "out"}


def test_wrappers_within_wrappers(tmp_path):
    torch.save({"checkpoint": {"model": {"state_dict": STATE}}, "epoch": 7}, tmp_path / "x.pth")
    assert same(read(tmp_path / "x.pth").tensors)


def test_what_was_trained_goes_before_its_average_and_that_is_told(tmp_path):
    average = {name: tensor + 1 for name, tensor in STATE.items()}
    torch.save({"model_ema": average, "optimizer": {}, "model": STATE}, tmp_path / "x.pth")
    file = read(tmp_path / "x.pth")
    assert same(file.tensors)
    assert file.notes == ["taken from 'model', not from model_ema"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "lr": 0.1}, "holds no tensors under its keys epoch, lr"),
        ({"here": STATE, "there": STATE}, "several state dicts under its keys here, there"),
        ({}, r"no tensors under its keys \(none\)"),
    ],
)
def test_where_no_state_dict_is_found_the_keys_are_named(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=rf"x\.pth .*{message}"):
        read(tmp_path / "x.pth")


NUMBERS = "bool_ int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64"


@pytest.mark.parametrize("kind", NUMBERS.split())
@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])  # as NumPy 1 and 2 call it
def test_numbers_of_numpy_are_plain_values(tmp_path, monkeypatch, kind, core):
    number = getattr(np, kind)(1)
    scalar = number.__reduce__()[0]
    monkeypatch.setattr(scalar, "__module__", f"{core}.multiarray", raising=False)
    settings = argparse.Namespace(value=number, big=number.dtype.newbyteorder(">").type(1))
    for zipped in (True, False):
        content = {"model": STATE, "args": settings}
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        file = read(tmp_path / "x.pth")
        assert same(file.tensors)
        assert file.settings == {"value": 1, "big": 1}
        assert type(file.settings["value"]).__module__ == "builtins"


def test_whatever_else_of_numpy_is_read_past(tmp_path):
    beside = {
        "scalar array": np.array(3.0),
        "array": np.arange(6).reshape(2, 3),
        "objects": np.array([None, "x"]),
        "dtype": np.dtype("float32"),
        "record": np.dtype([("a", "i4")]),
        "text": np.str_("best"),
        "date": np.datetime64("2020-01-01"),
        "random": np.random.RandomState(0).get_state(),
    }
    torch.save({"model": STATE} | beside, tmp_path / "x.pth")
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


class Zeros:
    """A hundred gigabytes, in a few bytes of a pickle."""

    def __reduce__(self):
        return (bytearray, (10**11,))


class Doubled:
    """Bytes that become twice as many again and again."""

    def __init__(self, times):
        self.times = times

    def __reduce__(self):
        if not self.times:
            return (codecs.encode, ("a", "latin1"))
        return (codecs.encode, (Doubled(self.times - 1), "hex"))


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write(kind, path, whole=False):
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
        if not whole:
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
        ("no tensors", "holds no tensors under its keys model"),
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


def repack(path, method=zipfile.ZIP_STORED, **change):
    """Write an archive again, some of its entries changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, change.get(name.rpartition("/")[2].partition(".")[0], content))


class TestBombs:
    """Files that would take far more memory than they have bytes."""

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize(
        ("content", "message"),
        [(Zeros(), r"holds Python objects \(bytearray\)"), (Doubled(60), "holds bytes in another")],
    )
    def test_values_that_grow(self, tmp_path, content, message, zipped):
        content = {"model": STATE, "x": content}
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(WeightsError, match=f"x.pth is refused: it {message}"):
            read(tmp_path / "x.pth")

    def test_compressed_archives(self, tmp_path):
        path = tmp_path / "x.pth"
        torch.save({"model": STATE, "zeros": torch.zeros(10**6)}, path)
        repack(path, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 10**5
        with pytest.raises(WeightsError, match=r"x\.pth is refused: .* in it is compressed"):
            read(path)

    def test_an_archive_with_a_second_directory(self, tmp_path):
        path = tmp_path / "x.pth"
        torch.save(STATE, path)
        path.write_bytes(b"something else" + path.read_bytes())
        with pytest.raises(WeightsError, match=r"x\.pth is refused: more than an archive"):
            read(path)

    def test_a_pickle_of_many_megabytes(self, tmp_path):
        path = tmp_path / "x.pth"
        torch.save(STATE, path)
        repack(path, data=b"\x80\x02" + b"]" * 2**24 + b".")
        with pytest.raises(WeightsError, match=r"x\.pth is refused: .*data.pkl in it has over 16"):
            read(path)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_expanded_tensors(self, tmp_path, zipped):
        state = STATE | {"vast": torch.zeros(1).expand(10**6, 10**6)}
        torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        message = (
            r"x\.pth has \d+ bytes, .* claim 40000000120\d+, vast of shape \[1000000, 1000000\]"
        )
        with pytest.raises(WeightsError, match=message):
            read(tmp_path / "x.pth")

    def test_expanded_and_tied_tensors_of_ordinary_size_are_read(self, tmp_path):
        state = {"wide": torch.ones(1).expand(5)} | dict.fromkeys("abcdefgh", torch.ones(100))
        torch.save(state, tmp_path / "x.pth")
        assert read(tmp_path / "x.pth").tensors["wide"].tolist() == [1] * 5


def with_tensor(path, size=(3,), stride=(1,), offset=0, numel=3, storage="FloatStorage"):
    """A file with one tensor of three numbers, of which its pickle says these things."""

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(*values):
        return b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values)

    torch.save({"x": torch.ones(3)}, path)
    reference = text("storage") + b"ctorch\n" + storage.encode() + b"\n" + text("0") + text("cpu")
    reference = b"(" + reference + numbers(numel) + b"tQ"
    tensor = reference + numbers(offset) + b"(" + numbers(*size) + b"t(" + numbers(*stride) + b"t"
    tensor += b"\x89ccollections\nOrderedDict\n)R"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + tensor + b"tR"
    repack(path, data=b"\x80\x02}" + text("x") + rebuilt + b"s.")


class TestLies:
    """Pickles that say what is not so."""

    def test_none(self, tmp_path):
        with_tensor(tmp_path / "x.pth")
        assert read(tmp_path / "x.pth").tensors["x"].tolist() == [1, 1, 1]

    @pytest.mark.parametrize(
        ("lie", "message"),
        [
            ({"size": (-3,)}, "is truncated or not a weight file"),
            ({"size": (-1, -3), "stride": (1, 1)}, "is truncated or not a weight file"),
            ({"size": (2**40,)}, "is truncated or not a weight file"),
            ({"size": (2**62,), "stride": (0,)}, "claim"),
            ({"size": (2**32, 2**32), "stride": (0, 0)}, "is truncated or not a weight file"),
            ({"stride": (-1,)}, "is truncated or not a weight file"),
            ({"offset": -1}, "is truncated or not a weight file"),
            ({"offset": 2**40}, "is truncated or not a weight file"),
            ({"numel": -1}, "claims other bytes than are there"),
            ({"numel": 4}, "claims other bytes than are there"),
            ({"numel": 4, "size": (4,)}, "claims other bytes than are there"),
            ({"numel": 2**40}, "claims other bytes than are there"),
            ({"storage": "DoubleStorage"}, "claims other bytes than are there"),
        ],
    )
    def test_of_sizes(self, tmp_path, lie, message):
        with_tensor(tmp_path / "x.pth", **lie)
        with pytest.raises(WeightsError, match=rf"x\.pth .*{message}"):
            read(tmp_path / "x.pth")

    @pytest.mark.parametrize(
        ("tensor", "message"),
        [
            (torch.eye(3).to_sparse(), "holds tensors that are not plain dense ones"),
            (torch.empty(10**12, device="meta"), "holds tensors that are not plain dense ones"),
            (torch.ones(2, dtype=torch.complex64), "odd is not a plain tensor of real numbers"),
        ],
    )
    def test_special_tensors_are_refused(self, tmp_path, tensor, message):
        torch.save(STATE | {"odd": tensor}, tmp_path / "x.pth")
        with pytest.raises(WeightsError, match=rf"x\.pth.*{message}"):
            read(tmp_path / "x.pth")

    @pytest.mark.parametrize("length", [0, 1, 2**40, 2**63])
    def test_safetensors_headers(self, tmp_path, length):
        path = tmp_path / "x.safetensors"
        save_file(STATE, path)
        path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
        with pytest.raises(WeightsError, match=r"x\.safetensors is damaged or truncated"):
            read(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "folder"])
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_load_or_are_refused(tmp_path, kind):
    if kind == "folder":
        save_file(STATE, tmp_path / "a.safetensors")
        path, source = tmp_path / "model.safetensors.index.json", tmp_path
        path.write_text(json.dumps({"weight_map": dict.fromkeys(STATE, "a.safetensors")}))
    else:
        path = source = tmp_path / "x.pth"
        write(kind, path, whole=True)
    content, chance, refused = path.read_bytes(), random.Random(0), 0
    numbers = [i for i in range(len(content)) if content[i : i + 4] != bytes(4)]
    for _ in range(200):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 3])):
            place = chance.choice(numbers[:400] + numbers[-400:])
            changed[place] = chance.choice([0, 1, 128, 255, chance.randrange(256)])
        path.write_bytes(changed[: chance.choice([None, None, chance.randrange(len(content))])])
        try:
            read(source)
        except WeightsError:
            refused += 1
    assert refused > 20


class TestFolders:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"{", "is not valid JSON"),
            (b"[]", "must be a JSON object, not a list"),
            (b"\xff\xfe{}", "cannot be read: 'utf-8'"),
            (b"[" * 10**5, "is not valid JSON: maximum recursion"),
            (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON: Exceeds the limit"),
        ],
    )
    @pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
    def test_broken_json(self, tmp_path, name, text, message):
        save_file(STATE, tmp_path / "model.safetensors")
        (tmp_path / name).write_bytes(text)
        with pytest.raises(WeightsError, match=f"{name} {message}"):
            read(tmp_path)

    @pytest.mark.parametrize(
        ("weight_map", "message"),
        [
            (None, "weight_map must say"),
            (["a"], "weight_map must say"),
            ({"a": 3}, "weight_map.a names 3, which"),
            ({"a": ""}, "weight_map.a names '', which"),
            ({"a": "."}, "weight_map.a names"),
            ({"a": ".."}, "weight_map.a names"),
            (
                {"a": "../x.pth"},
                r"weight_map.a names '../x.pth', which is not a weight file beside",
            ),
            ({"a": "/etc/passwd"}, "weight_map.a names '/etc/passwd'"),
            ({"a": "model.safetensors.index.json"}, "weight_map.a names 'model"),
            ({"a": "config.json"}, "truncated or not a weight file"),
            ({"a": "folder"}, "folder is not a regular file"),
            ({"a": "gone"}, "gone is not there"),
            ({"a": "x.safetensors", "c": "x.safetensors"}, "none of its files holds c"),
        ],
    )
    def test_broken_indices(self, tmp_path, weight_map, message):
        save_file(STATE, tmp_path / "x.safetensors")
        save_file(STATE, tmp_path.parent / "x.pth")
        (tmp_path / "folder").mkdir()
        (tmp_path / "config.json").write_text("{}")
        index = tmp_path / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(WeightsError, match=message) as caught:
            read(tmp_path)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("architecture", ["vit", 3, ["VideoViT"]])
def test_an_architecture_that_is_no_mapping(tmp_path, architecture):
    torch.save({"state_dict": STATE, "architecture": architecture}, tmp_path / "x.ckpt")
    save_file(STATE, tmp_path / "x", metadata={"architecture": json.dumps(architecture)})
    for name in ("x.ckpt", "x"):
        with pytest.raises(WeightsError, match=f"{name}: architecture must be a "):
            read(tmp_path / name)


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(WeightsError, match="is not a regular file"):
            read(path)


@pytest.mark.parametrize("name", ["x.pth", "weights/x.pth"])
def test_missing_files_say_what_to_fetch_from_where_and_where_to_put_it(
    tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        read(name)
    assert isinstance(caught.value, DeviasError)
    message = str(caught.value)
    for key in ("backbone.weights", "scene_teacher.model.path", "DEVIAS_WEIGHTS"):
        assert key in message
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
