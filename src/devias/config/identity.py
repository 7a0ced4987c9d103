"""What a run is known by: a hash of its method, and words that say how it differs from another.

Both are made from resolved values, so that neither the spelling nor the order of overrides
matters, and neither seed, machine, paths nor loggers do.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

SECTIONS = (
    "global_batch",
    "weights",
    "compat",
    "masks",
    "scene_teacher",
    "augment",
    "batch_stage",
    "head",
    "loss",
    "decoder",
    "data",
    "backbone",
    "model",
    "matcher",
    "optim",
    "trainer",
)
"""The top-level keys that describe a method. `recipe` is not among them: its effects are."""

ONLY = {
    "compat": {"action_space", "final_weights"},  # the others set values of other sections
    "trainer": {
        "gradient_clip_algorithm",
        "gradient_clip_val",
        "limit_train_batches",
        "max_epochs",
        "max_steps",
        "max_time",
        "min_epochs",
        "min_steps",
        "overfit_batches",
        "precision",
    },
}
"""All that counts of a section."""

WITHOUT = {
    "backbone": {"gradient_checkpointing"},
    "data": {
        # where files lie
        "annotations",
        "categories",
        "follow_links",
        "label_cache",
        "pseudo_cache",
        "root",
        "scene_categories",
        "suffix",
        "train_images",
        "train_list",
        "val_images",
        "val_list",
        "videos",
        # how they are read
        "batch_size",
        "eval_batch_size",
        "max_bad_share",
        "num_workers",
        "preload",
        # what the protocol sets
        "num_clips",
        "num_crops",
    },
}
"""What does not count of a section."""

GENERIC = {"best", "last", "checkpoint", "model", "pytorch_model"}
"""File names that say nothing without their folder's."""

REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
"""A plain interpolation, `${a.b}`."""


class Leaf(NamedTuple):
    """A value of a configuration, as written (perhaps an interpolation) and as resolved."""

    raw: Any
    value: Any


def run_id(config: DictConfig) -> str:
    """Eight hexadecimal digits that two runs share if and only if their methods are the same."""
    values = {path: leaf.value for path, leaf in method(config).items()}
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def changes(config: DictConfig, reference: DictConfig) -> list[str]:
    """How the method of a configuration differs from that of another, in a fixed order.

    A value is called by its shortest unambiguous key, one that stands in the recipe or in
    `compat` by its key there: `num_slots=3`, `fame_beta=0.4`, `~loss.slot_diversity`. What merely
    follows from another changed value is left out.
    """
    ours, theirs = method(config), method(reference)
    known = {*ours, *theirs, *SECTIONS}
    words = []
    for path in sorted({*ours, *theirs}):
        old, new = theirs.get(path), ours.get(path)
        if (old and old.value) == (new and new.value):
            continue
        if old and new and _follows(path, old, new, config):
            continue
        dropped = None if new else _dropped(path, ours)
        if dropped:
            words.append(f"~{dropped}")
            continue
        key = _documented(path, ours, theirs) or _shortest(path, known)
        value = "null" if new is None else _show(new.value)
        if path.endswith("._target_"):
            value = value.rpartition(".")[2]
        words.append(f"{key.removesuffix('._target_')}={value}")
    return list(dict.fromkeys(words))


def file_name(label: str, identity: str) -> str:
    """Label and hash as a name for a folder: plain ASCII, at most 70 characters."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", label.replace("~", "no-"))[:60].strip("-.")
    return f"{plain}-{identity}" if plain else identity


def method(config: DictConfig) -> dict[str, Leaf]:
    """The leaves of the method's sections by their dotted keys.

    Absent, `null` and the part that `none` chooses are the same. A part that is a reference to
    another one (`model.backbone`) counts there.
    """
    leaves = {}
    for section in SECTIONS:
        if OmegaConf.is_missing(config, section) or config.get(section) is None:
            continue
        value = config[section]
        if not isinstance(value, DictConfig):
            leaves[section] = Leaf(value, _plain(value))
            continue
        raw: Any = OmegaConf.to_container(value, resolve=False)
        resolved: Any = OmegaConf.to_container(value, resolve=True)
        only, without = ONLY.get(section, resolved.keys()), WITHOUT.get(section, ())
        kept = {key: item for key, item in resolved.items() if key in only and key not in without}
        leaves.update(_leaves(section, raw, kept))
    return leaves


def _leaves(prefix: str, raw: Any, resolved: Mapping[str, Any]) -> Iterator[tuple[str, Leaf]]:
    if resolved.get("_target_") == "devias.config.nothing":
        return
    for key, value in resolved.items():
        path = f"{prefix}.{key}"
        if not isinstance(value, Mapping):
            if value is not None:
                yield path, Leaf(raw[key], _plain(value))
        elif not isinstance(raw[key], str):
            yield from _leaves(path, raw[key], value)


def _plain(value: Any) -> Any:
    """Equal for equal values: whole numbers as integers, files by their names alone."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and "/" in value:
        path = Path(value)
        folders = [part for part in path.parts[:-1] if part not in ("/", "checkpoints")]
        return f"{folders[-1]}/{path.name}" if path.stem in GENERIC and folders else path.name
    return value


def _follows(path: str, old: Leaf, new: Leaf, config: DictConfig) -> bool:
    """Whether a value is what the reference's interpolation of other method values gives."""
    sources = REFERENCE.findall(old.raw) if isinstance(old.raw, str) else []
    if not sources or any(source.partition(".")[0] not in SECTIONS for source in sources):
        return False
    if any(source.startswith("compat.") for source in sources):
        return False
    probe = config.copy()
    OmegaConf.update(probe, path, old.raw, force_add=True)
    return _plain(OmegaConf.select(probe, path)) == new.value


def _dropped(path: str, ours: Mapping[str, Leaf]) -> str | None:
    """The highest part above a missing leaf of which nothing is left."""
    parts = path.split(".")
    for length in range(1, len(parts)):
        part = ".".join(parts[:length])
        if not any(key.startswith(f"{part}.") for key in ours):
            return part
    return None


def _documented(path: str, ours: Mapping[str, Leaf], theirs: Mapping[str, Leaf]) -> str | None:
    """The recipe's or compat's key that sets a value, where all it sets have the same one."""
    old = theirs.get(path)
    source = REFERENCE.fullmatch(old.raw) if old and isinstance(old.raw, str) else None
    if not source or source[1].partition(".")[0] not in ("recipe", "compat"):
        return None
    effects = [ours.get(key) for key, leaf in theirs.items() if leaf.raw == source[0]]
    values = [None if leaf is None else leaf.value for leaf in effects]
    return source[1].partition(".")[2] if all(value == values[0] for value in values) else None


def _shortest(path: str, known: set[str]) -> str:
    """The fewest last parts of a key that no other key ends with."""
    whole = path.removesuffix("._target_")
    parts = whole.split(".")
    for length in range(1, len(parts)):
        short = ".".join(parts[-length:])
        ending = f".{short}{path.removeprefix(whole)}"
        if not any(key != path and f".{key}".endswith(ending) for key in known):
            return short
    return whole


def _show(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_show, value))}]"
    return str(value)
