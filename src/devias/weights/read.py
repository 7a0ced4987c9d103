"""Reading weight files safely: no code is ever run, and every failure says what is wrong."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from devias.weights.errors import WEIGHT_KEYS, WHERE_TO_FETCH, MissingWeightsError, some
from devias.weights.errors import WeightsError as WeightsError
from devias.weights.torch_file import load_torch_file

ARCHITECTURE = "architecture"
"""Where our own files hold the model's description: metadata of a safetensors file (as JSON), a
key of a checkpoint."""

PACKAGE = "package:"
"""Prefix of weights that ship with the package."""

WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network"),
    *("weights", "params", "checkpoint", "student", "backbone", "encoder"),
    # Averages over the training, taken where nothing else is there.
    *("state_dict_ema", "model_state_dict_ema", "ema_state_dict", "model_ema", "ema_model"),
    *("ema", "params_ema", "teacher", "target_encoder"),
)
"""Keys under which training codes keep a state dict, the preferred first."""

MOST_REPETITION = 32
"""How often a file's bytes may stand in its tensors, as those of tied rounds do."""


@dataclass
class WeightFile:
    """What a weight file says."""

    tensors: dict[str, Tensor]
    """By name."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Plain values beside them: a released checkpoint's `args`, a Hugging Face `config.json`."""
    architecture: dict[str, Any] | None = None
    """The description of the model, in our own files."""
    notes: list[str] = field(default_factory=list)
    """Which of several state dicts was taken."""


def read(source: str | Path) -> WeightFile:
    """Read a file, a Hugging Face folder or hub id, or `package:NAME`.

    Raises:
        MissingWeightsError: there is nothing of that name; says where weights are to be had.
        WeightsError: it is truncated, a web page, holds code, or holds no tensors.
    """
    path = locate(source)
    return read_folder(path) if path.is_dir() else read_file(path)


def read_file(path: Path) -> WeightFile:
    """Read one file; its first bytes tell what it is.

    Raises:
        WeightsError: as `read`.
    """
    try:
        if not path.is_file():  # a pipe or device, which might never end
            raise WeightsError(f"{path} is not a regular file")
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise WeightsError(f"{path} is empty")
    if start.lstrip().startswith(b"<"):
        raise WeightsError(
            f"{path} is a web page, not weights; the download must have failed. {WHERE_TO_FETCH}"
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a Git LFS pointer, not weights; fetch it with `git lfs pull`"
        )
    content = read_safetensors(path) if start[8:9] == b"{" else read_checkpoint(path)
    if not content.tensors:
        raise WeightsError(f"{path} holds no tensors")
    _check_tensors(path, content.tensors, size)
    return content


def locate(source: str | Path) -> Path:
    """The local file or folder of `source`, fetched from the Hugging Face hub for a hub id."""
    name = str(source)
    if name.startswith(PACKAGE):
        folder = Path(str(resources.files("devias.weights") / "pretrained"))
        shipped = sorted(file.name for file in folder.glob("*.*"))
        if name.removeprefix(PACKAGE) not in shipped:
            raise MissingWeightsError(f"{name} does not ship with the package; there are {shipped}")
        return folder / name.removeprefix(PACKAGE)
    path = Path(os.path.expanduser(source))
    if os.path.exists(path):
        return path
    looks_like_id = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name)
    if looks_like_id and path.suffix not in {".pth", ".pt", ".ckpt", ".bin", ".safetensors"}:
        return _fetch(name)
    raise MissingWeightsError(
        f"{path.absolute()} does not exist. {WHERE_TO_FETCH}. {WEIGHT_KEYS}: download the file to "
        "this place, or name in the configuration where you have it"
    )


def read_folder(folder: Path) -> WeightFile:
    """Read a Hugging Face folder: `config.json` and weights, in one file or several.

    Raises:
        MissingWeightsError: it holds no weights.
        WeightsError: as `read`, or `config.json` or the index of several files is broken.
    """
    config = folder / "config.json"
    settings = _json(config) if config.is_file() else {}
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if index.is_file():
            return WeightFile(_read_shards(index), settings)
        if (folder / name).is_file():
            return WeightFile(read_file(folder / name).tensors, settings)
    raise MissingWeightsError(
        f"{folder} holds neither model.safetensors nor pytorch_model.bin; {WHERE_TO_FETCH}"
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    shard_of = _json(index).get("weight_map")
    if not isinstance(shard_of, dict):
        raise WeightsError(f"{index}: weight_map must say in which file each tensor is")
    for name, shard in shard_of.items():
        is_name = isinstance(shard, str) and shard not in ("", "..") and Path(shard).name == shard
        if not is_name or shard == index.name:
            raise WeightsError(
                f"{index}: weight_map.{some([name])} names {some([repr(shard)])}, which is not a "
                "weight file beside it"
            )
        if not os.path.lexists(index.with_name(shard)):
            raise MissingWeightsError(f"{index}: {some([shard])} is not there; {WHERE_TO_FETCH}")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(shard_of.values())):
        tensors |= read_file(index.with_name(shard)).tensors
    if missing := [name for name in shard_of if name not in tensors]:
        raise WeightsError(f"{index}: none of its files holds {some(missing)}")
    return tensors


def read_safetensors(path: Path) -> WeightFile:
    """Read a safetensors file; ours say what model they are of."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError, AttributeError) as error:
        # Not the first alone: of a type that this version lacks come others.
        raise WeightsError(f"{path} is damaged or truncated: {error}") from error
    architecture = metadata.get(ARCHITECTURE)
    if architecture is None:
        return WeightFile(tensors)
    return WeightFile(tensors, architecture=_json_object(architecture, f"{path}: {ARCHITECTURE}"))


def read_checkpoint(path: Path) -> WeightFile:
    """Read a PyTorch file and find the state dict in it, as training codes wrap it."""
    content = load_torch_file(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict")
    found = dict(_state_dicts(content))
    if not found:  # none under a name that is known; then under any, if it is the only one
        found = {str(key): value for key, value in content.items() if _holds_tensors(value)}
        if len(found) != 1:
            what = "several state dicts" if found else "no tensors"
            keys = some(content, most=9) or "(none)"
            raise WeightsError(f"{path} holds {what} under its keys {keys}")
    key, *others = found
    notes = [f"taken from {key!r}, not from {some(others)}"] if others else []
    args, architecture = content.get("args"), content.get(ARCHITECTURE)
    if not (architecture is None or isinstance(architecture, dict)):
        kind = type(architecture).__name__
        raise WeightsError(f"{path}: {ARCHITECTURE} must be a mapping, not a {kind}")
    settings = vars(args) if isinstance(args, argparse.Namespace) else {}
    tensors = {
        name: value
        for name, value in found[key].items()
        if isinstance(value, Tensor) and isinstance(name, str)
    }
    return WeightFile(tensors, settings, architecture, notes)


def _state_dicts(content: Mapping[Any, Any], depth: int = 3) -> Iterator[tuple[str, Any]]:
    """The state dicts below a checkpoint's wrappers, best first, and under which keys."""
    wrapped = False
    for key in WRAPPERS if depth else ():
        if isinstance(content.get(key), Mapping):
            for inner, state in _state_dicts(content[key], depth - 1):
                wrapped = True
                yield f"{key}.{inner}".rstrip("."), state
    if not wrapped and _holds_tensors(content):
        yield "", content


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], size: int) -> None:
    """Refuse what is no plain tensor, and what would be far larger in memory than in the file."""
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise WeightsError(f"{path}: {some([name])} is not a plain tensor of real numbers")
        if tensor.is_meta:
            raise WeightsError(f"{path}: {some([name])} has a shape but no values")
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if total > MOST_REPETITION * size:
        name = max(tensors, key=lambda name: tensors[name].numel())
        raise WeightsError(
            f"{path} has {size} bytes, but its tensors claim {total}, {some([name])} of shape "
            f"{list(tensors[name].shape)} the most"
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    return _json_object(text, str(path))


def _json_object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{where} must be a JSON object, not a {type(value).__name__}")
    return value


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        wanted = ["config.json", "*.safetensors", "*.safetensors.index.json"]
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:
        raise MissingWeightsError(
            f"{name} is neither a local path nor to be had from the Hugging Face hub "
            f"({type(error).__name__}: {error}); {WHERE_TO_FETCH}"
        ) from error
