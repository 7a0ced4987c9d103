"""Reading weight files safely: no code is ever run, and every failure says what is wrong."""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from devias.errors import DeviasError

ARCHITECTURE = "architecture"
"""Where our own files hold the model's description: metadata of a safetensors file (as JSON), a
key of a checkpoint."""

PACKAGE = "package:"
"""Prefix of weights that ship with the package."""

NUMBER = np.float64(0).__reduce__()[0]
"""What NumPy's scalars are unpickled by, which has no public name."""

PLAIN: list[Any] = [
    argparse.Namespace,
    NUMBER,
    (NUMBER, "numpy.core.multiarray.scalar"),  # as NumPy 1 called it
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
]
"""Plain values beside the weights of released checkpoints: command line, accuracy, epoch."""

WHERE_TO_FETCH = (
    "VideoMAE weights are linked from https://github.com/MCG-NJU/VideoMAE/blob/main/MODEL_ZOO.md, "
    "those of DEVIAS and its scene model from https://github.com/KHU-VLL/DEVIAS"
)


class WeightsError(DeviasError, ValueError):
    """A weight file that cannot be used; the message says why."""


@dataclass
class WeightFile:
    """What a weight file says."""

    tensors: dict[str, Tensor]
    """By name."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Plain values beside them: a released checkpoint's `args`, a Hugging Face `config.json`."""
    architecture: dict[str, Any] | None = None
    """The description of the model, in our own files."""


def read(source: str | Path) -> WeightFile:
    """Read a file, a Hugging Face folder or hub id, or `package:NAME`.

    Raises:
        FileNotFoundError: there is nothing of that name; says where weights are to be had.
        WeightsError: it is truncated, a web page, holds code, or holds no tensors.
    """
    path = locate(source)
    if path.is_dir():
        return read_folder(path)
    with path.open("rb") as file:
        start = file.read(64)
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
    return content


def locate(source: str | Path) -> Path:
    """The local file or folder of `source`, fetched from the Hugging Face hub for a hub id."""
    name = str(source)
    if name.startswith(PACKAGE):
        folder = resources.files("devias.weights") / "pretrained"
        path = Path(str(folder / name.removeprefix(PACKAGE)))
    else:
        path = Path(source).expanduser()
        looks_like_id = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name)
        suffixes = {".pth", ".pt", ".ckpt", ".bin", ".safetensors"}
        if looks_like_id and not path.exists() and path.suffix not in suffixes:
            return _fetch(name)
    if path.exists():
        return path
    if name.startswith(PACKAGE):
        shipped = sorted(file.name for file in path.parent.glob("*.*"))
        raise FileNotFoundError(f"{name} does not ship with the package; there are {shipped}")
    raise FileNotFoundError(
        f"{path.absolute()} does not exist. {WHERE_TO_FETCH}; download the file to this place, or "
        "name in the configuration where you have it"
    )


def read_folder(folder: Path) -> WeightFile:
    """Read a Hugging Face folder: `config.json` and weights, in one file or several."""
    config = folder / "config.json"
    settings = json.loads(config.read_text()) if config.is_file() else {}
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        elif (folder / name).is_file():
            shards = [name]
        else:
            continue
        tensors: dict[str, Tensor] = {}
        for shard in shards:
            tensors |= read(folder / shard).tensors
        return WeightFile(tensors, settings)
    raise FileNotFoundError(
        f"{folder} holds neither model.safetensors nor pytorch_model.bin; {WHERE_TO_FETCH}"
    )


def read_safetensors(path: Path) -> WeightFile:
    """Read a safetensors file; ours say what model they are of."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or truncated: {error}") from error
    architecture = metadata.get(ARCHITECTURE)
    return WeightFile(tensors, architecture=json.loads(architecture) if architecture else None)


def read_checkpoint(path: Path) -> WeightFile:
    """Read a PyTorch file and find the state dict in it, as training codes wrap it."""
    zipped = zipfile.is_zipfile(path)
    try:
        with torch.serialization.safe_globals(PLAIN):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # whatever damaged bytes provoke in the unpickler
        raise WeightsError(_explain(path, error)) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict")
    state = content
    for wrapper in ("state_dict", "model", "module"):  # Lightning; VideoMAE; DeepSpeed
        if isinstance(content.get(wrapper), Mapping):
            state = content[wrapper]
            break
    args = content.get("args")
    settings = vars(args) if isinstance(args, argparse.Namespace) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return WeightFile(tensors, settings, content.get(ARCHITECTURE))


def _explain(path: Path, error: Exception) -> str:
    refused = re.search(
        r"[Uu]nsupported (?:global: )?(?:GLOBAL|class|operand) ([\w.]+)", str(error)
    )
    if refused:
        what = "a bare pickle" if refused[1].isdigit() else f"Python objects ({refused[1]})"
        return (
            f"{path} is refused: it holds {what}, and loading those would run code. "
            "Save its state dict alone, best as safetensors"
        )
    return f"{path} is truncated or not a weight file ({type(error).__name__}). {WHERE_TO_FETCH}"


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        wanted = ["config.json", "*.safetensors", "*.safetensors.index.json"]
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:
        raise FileNotFoundError(
            f"{name} is neither a local path nor to be had from the Hugging Face hub "
            f"({type(error).__name__}: {error}); {WHERE_TO_FETCH}"
        ) from error
