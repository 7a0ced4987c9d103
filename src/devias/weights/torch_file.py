"""PyTorch files, looked through before anything in them is loaded.

`torch.load(weights_only=True)` runs no code, but it unpacks what is compressed, and its pickles may
call functions whose results are far larger than the file. So the archive's directory and the
pickles' operations are read first, and only what weights are made of goes on to `torch.load`.
"""

from __future__ import annotations

import argparse
import mmap
import pickletools
import re
import struct
import zipfile
from collections.abc import Container
from encodings import normalize_encoding
from encodings.aliases import aliases
from pathlib import Path
from typing import Any

import numpy as np
import torch

from devias.weights.errors import WHERE_TO_FETCH, WeightsError, some

MAX_PICKLE = 2**24
"""Bytes of a pickle; that of a ViT-B with its optimizer has half a million."""

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files begin that PyTorch wrote before its version 1.6, and still can."""

BYTE_CODECS = {f"{name}_codec" for name in ("base64", "bz2", "hex", "quopri", "uu", "zlib")}
"""What `_codecs.encode`, by which Python pickles bytes, could double them with, and again."""


class _Ignored:
    """Stands for a NumPy array beside the weights, which nothing here has a use for."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _NumpyType:
    """Stands for a NumPy dtype."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code if isinstance(code, str) else ""
        self.byteorder = "<"

    def __setstate__(self, state: Any) -> None:
        if state[1] == ">":
            self.byteorder = ">"


def _numpy_scalar(kind: Any, data: Any = None) -> Any:
    """The plain Python number of a NumPy scalar; `None` for text, dates and records."""
    if not isinstance(kind, _NumpyType) or not re.fullmatch(r"[biufc]\d{1,2}", kind.code):
        return None
    return np.frombuffer(data, kind.byteorder + kind.code, count=1)[0].item()


# NumPy's own functions are not let near a file; "core" is NumPy 1's name.
_NUMPY: list[Any] = [
    (_NumpyType, "numpy.dtype"),
    (_Ignored, "numpy.ndarray"),
    *((_numpy_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_Ignored, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
PLAIN = [argparse.Namespace, *_NUMPY]
"""What is found beside the weights of released checkpoints: command line, accuracy, epoch."""

ALLOWED = re.compile(
    r"torch\.(\w+Storage|b?float\w*|double|half|u?int\d+|short|long|bool|complex\d+|Size|device)"
    r"|torch\.storage\.UntypedStorage|torch\._utils\._rebuild_(tensor(_v[23])?|parameter\w*)"
    r"|collections\.(OrderedDict|Counter)|(__builtin__|builtins)\.(set|complex)|_codecs\.encode"
    r"|argparse\.Namespace|" + "|".join(re.escape(name) for _, name in _NUMPY)
)
"""All that a pickle may name: what weights and plain values are made of."""


ITEM_SIZES = {
    **dict.fromkeys(("Untyped", "Byte", "Char", "Bool"), 1),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Float", "Int"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
}
"""Bytes of a number in PyTorch's storages."""


def load_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, to the CPU; zipped files stay on disk until their tensors are used.

    Values of NumPy come back as plain numbers; arrays of NumPy are left out.

    Raises:
        WeightsError: it is truncated or no such file, compressed, or holds anything but dense
            tensors, plain values and containers.
    """
    try:
        zipped = zipfile.is_zipfile(path)
        (_check_archive if zipped else _check_legacy)(path)
        with torch.serialization.safe_globals(PLAIN):
            if zipped:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            # Not by its path: PyTorch would try to unpack it as a tar file first.
            with (
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                return torch.load(content, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
    except WeightsError:
        raise
    except Exception as error:  # whatever damaged bytes provoke
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise WeightsError(
            f"{path} is truncated or not a weight file ({some([reason])}). {WHERE_TO_FETCH}"
        ) from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.orig_filename.lower(): entry for entry in archive.infolist()}
        if any(name.endswith("constants.pkl") for name in entries):
            raise WeightsError(
                f"{path} is refused: it holds a TorchScript program. Save its state dict alone"
            )
        for name, entry in entries.items():
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise WeightsError(
                    f"{path} is refused: {name} in it is compressed, which torch.save never does"
                )
        # PyTorch goes by the offset written down, Python by where the directory must begin; a file
        # made to show each another directory would pass this check with the wrong one.
        if len(entries) != len(archive.infolist()) or archive.start_dir != _directory(path):
            raise WeightsError(f"{path} is refused: more than an archive of torch.save is in it")
        for name, entry in entries.items():
            if name.endswith("data.pkl"):
                if entry.file_size > MAX_PICKLE:
                    raise WeightsError(f"{path} is refused: {name} in it has over 16 MiB")
                sizes = {e.file_size for n, e in entries.items() if "/data/" in n}
                with archive.open(entry) as pickled:
                    _check_pickle(path, pickled, sizes)


def _directory(path: Path) -> int:
    """Where a zip file says that its directory begins."""
    with path.open("rb") as file:
        file.seek(-22, 2)
        signature, offset = struct.unpack("<4s12xI2x", file.read(22))
        if signature != b"PK\5\6":
            return -1
        if offset != 0xFFFFFFFF:
            return int(offset)
        file.seek(-42, 2)
        file.seek(struct.unpack("<4x4xQ4x", file.read(20))[0] + 48)
        return int(struct.unpack("<Q", file.read(8))[0])


def _check_legacy(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(len(LEGACY))
        if start != LEGACY:
            if start[:1] == b"\x80":
                raise WeightsError(_refusal(path, "a bare pickle"))
            raise ValueError("neither a zip file nor one of old")
        for _ in range(4):  # protocol, system, content, names of the storages that follow
            _check_pickle(path, file, range(path.stat().st_size))


def _check_pickle(path: Path, pickled: Any, sizes: Container[int]) -> None:
    """Refuse a pickle that names anything but what weights are made of; nothing of it is run.

    Args:
        path: for messages.
        pickled: a file that stands where the pickle begins; left where it ends.
        sizes: bytes that a storage may have.
    """
    encodes, byte_codec = False, False
    start = pickled.tell()
    literals: list[Any] = []
    memo: dict[Any, Any] = {}
    for operation, argument, position in pickletools.genops(pickled):
        if operation.name == "GLOBAL":
            name = str(argument).replace(" ", ".")
            encodes |= name == "_codecs.encode"
            if not ALLOWED.fullmatch(name):
                special = "._rebuild_" in name or name == "torch.serialization._get_layout"
                what = "tensors that are not plain dense ones" if special else "Python objects"
                raise WeightsError(_refusal(path, f"{what} ({_shown(name)})"))
        elif isinstance(argument, str) and len(argument) < 32:
            codec = normalize_encoding(argument).lower().replace(".", "_")
            byte_codec |= aliases.get(codec, codec) in BYTE_CODECS
        if operation.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = literals[-1] if literals else None
        elif argument is not None:
            literals.append(memo.get(argument) if "BINGET" in operation.name else argument)
        elif operation.name == "BINPERSID" and not _storage_fits(literals[-5:], sizes):
            raise ValueError("a tensor claims other bytes than are there")
        if operation.proto > 2:
            raise WeightsError(
                f"{path} is refused: it is pickled with protocol {operation.proto}, and weights "
                "are read of protocol 2, the one torch.save writes by default"
            )
        if position is not None and position - start > MAX_PICKLE:
            raise WeightsError(f"{path} is refused: a pickle in it has over 16 MiB")
    if encodes and byte_codec:
        raise WeightsError(_refusal(path, "bytes in another code"))


def _storage_fits(reference: list[Any], sizes: Container[int]) -> bool:
    """Whether a reference to a storage, if it is of the usual form, claims the size of one."""
    match reference:
        case ["storage", str(kind), _, _, int(count)]:
            found = re.fullmatch(r"torch(?:\.storage)? (\w+)Storage", kind)
            size = ITEM_SIZES.get(found[1]) if found else None
            return size is None or count * size in sizes
    return True


def _shown(name: str) -> str:
    """A global's name, as Python 3 has it and not longer than a line."""
    return re.sub(r"^(__builtin__|builtins)\.", "", name)[:80]


def _refusal(path: Path, what: str) -> str:
    why = "" if "tensors" in what else ", and loading those would run code"
    return (
        f"{path} is refused: it holds {what}{why}. Save its state dict alone, best as safetensors"
    )
