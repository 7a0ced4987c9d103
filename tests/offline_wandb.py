"""What an offline run of W&B wrote."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import wandb
from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 2**15
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """One folder `offline-run-…`."""

    run: object
    """The record the run begins with: `run_id`, `display_name`, `run_group`, `tags`, …"""
    config: dict = field(default_factory=dict)
    history: dict = field(default_factory=dict)
    """The last value of each key."""
    summary: dict = field(default_factory=dict)
    artifacts: list = field(default_factory=list)
    """The type of each, and the paths in it."""


def read_offline_runs(run_dir: Path) -> list[OfflineRun]:
    """All offline runs below the folder of a run of ours, in the order of their beginning."""
    wandb.teardown()  # the last of it is written when the service ends
    return [_read(path) for path in sorted((run_dir / "wandb").glob("offline-run-*/*.wandb"))]


def records(path: Path) -> Iterator[tuple[str, Record]]:
    """The records of a file by kind: LevelDB's log format after a header of 7 bytes."""
    data, place, message = path.read_bytes(), 7, b""
    while place < len(data):
        if BLOCK - place % BLOCK < 7:  # too little for a chunk's header: filled with zeros
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        chunk = data[place + 7 : place + 7 + length]
        message = chunk if kind in (FULL, FIRST) else message + chunk
        place += 7 + length
        if kind in (FULL, LAST):
            record = Record.FromString(message)
            yield record.WhichOneof("record_type"), record


def _read(path: Path) -> OfflineRun:
    found: OfflineRun
    for kind, record in records(path):
        if kind == "run":
            found = OfflineRun(record.run)
            found.config |= _values(record.run.config.update)
        elif kind == "config":
            found.config |= _values(record.config.update)
        elif kind == "history":
            found.history |= _values(record.history.item)
        elif kind == "summary":
            found.summary |= _values(record.summary.update)
        elif kind == "artifact":
            paths = [Path(content.path).name for content in record.artifact.manifest.contents]
            found.artifacts.append((record.artifact.type, paths))
    return found


def _values(items) -> dict:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
