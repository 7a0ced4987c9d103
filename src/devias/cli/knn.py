"""What the action and the scene slot tell of either label, by their nearest neighbors (Table 1).

    devias knn checkpoint=RUN/checkpoints/best.ckpt
    devias knn checkpoint=… k=20 data=hmdb51 data.root=/hmdb51 scene_teacher=places365
    devias knn checkpoint=… upper='[ACTION_RUN/…/best.ckpt,SCENE_RUN/…/best.ckpt]'

Looks the test videos up among the training videos, one central clip each. A-A and S-S (feature →
label) should be high, A-S and S-A low, at best as low as `random`: the same with the training
labels shuffled. `upper` names models of one task, whose features are an upper bound. Scenes are the
data's own, or the scene model's answer on that clip.

Features are made once and kept in RUN/features (or `cache`); torchrun and Slurm share that work as
in `devias features`. Words other than those of `conf/knn.yaml` change the data. Writes `knn.json`
and `table.md` to `output_dir`, by default RUN/knn/<data>-<query>-k<k>.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from devias.cli.changes import as_additions, as_changes
from devias.cli.command import command, command_line
from devias.cli.processes import device, process
from devias.config.overrides import normalize_overrides
from devias.errors import ConfigError

if TYPE_CHECKING:
    from devias.data.datamodule import VideoDataModule
    from devias.evaluation.knn import SlotFeatures

log = logging.getLogger(__name__)

OWN_KEYS = (
    "bank", "cache", "checkpoint", "hydra", "k", "num_actions", "num_scenes", "output_dir", "query",
    "seed", "settings", "temperature", "trust", "upper",
)  # fmt: skip


@command("knn", rewrite=partial(as_additions, own=OWN_KEYS))
def main(config: DictConfig) -> None:
    """Measure, print and write."""
    knn(config, as_changes(HydraConfig.get().overrides.task, OWN_KEYS))


def knn(config: DictConfig, changes: Sequence[str] = ()) -> dict[str, Any] | None:
    """Probe the slots of a checkpoint as `conf/knn.yaml` describes.

    Args:
        config: of that file.
        changes: overrides of the checkpoint's configuration, for the data.

    Returns:
        What `knn.json` holds; `None` where other processes are still at the features.

    Raises:
        CheckpointError, ConfigError: as `devias.training.trained.load_trained`; or `k` is no number
            of neighbors, or too large for every probe.
    """
    from devias.evaluation.knn import probe_slots, upper_bound
    from devias.files import write_text
    from devias.reporting.knn import knn_table

    if config.k < 1 or config.temperature <= 0:
        raise ConfigError(f"k={config.k} and temperature={config.temperature} must be above 0")
    upper = [config.upper] if isinstance(config.upper, str) else list(config.upper or [])
    counts = config.num_actions, config.num_scenes
    found = [
        slot_features(config, changes, config.checkpoint, *counts),
        *(slot_features(config, changes, path) for path in upper),
    ]
    if None in found:
        log.info("other processes are still at their share of the videos; the last one goes on")
        return None
    (own, about), *others = (pair for pair in found if pair is not None)
    settings = {"k": config.k, "temperature": config.temperature, "device": about.pop("device")}
    told, chance = probe_slots(*own, seed=config.seed, **settings)
    if not told:
        raise ConfigError(f"k={config.k} neighbors can't be found: too few videos have labels")
    rows = {"model": told, "random": chance}
    if others:
        rows["upper bound"] = upper_bound([pair for pair, _ in others], **settings)
    content = {
        **about,
        "k": config.k,
        "temperature": config.temperature,
        "upper": upper,
        "command": command_line(),
        "rows": {
            name: {p: {v: share.as_dict() for v, share in by.items()} for p, by in row.items()}
            for name, row in rows.items()
        },
    }
    tables = "\n".join(f"{vote} vote\n\n{knn_table(rows, vote)}" for vote in ("weighted", "plain"))
    print(tables)
    folder = config.output_dir or run_folder(config.checkpoint) / "knn" / (
        f"{about['data']}-{about['query']}-k{config.k}"
    )
    write_text(Path(folder) / "knn.json", json.dumps(content, indent=2) + "\n")
    write_text(Path(folder) / "table.md", tables)
    return content


def slot_features(
    config: DictConfig,
    changes: Sequence[str],
    checkpoint: str,
    num_actions: int | None = None,
    num_scenes: int | None = None,
) -> tuple[tuple[SlotFeatures, SlotFeatures], dict[str, Any]] | None:
    """Bank and queries through the model of a checkpoint, and what they are of.

    `None` where other processes have not made their share yet.
    """
    from devias.config.instantiate import instantiate
    from devias.evaluation.feature_files import FeatureChunks
    from devias.evaluation.features import VideoEncoder, extract_features, feature_sources
    from devias.evaluation.knn import SlotFeatures
    from devias.training.trained import load_trained

    words = normalize_overrides(changes)
    trained = load_trained(checkpoint, words, config.trust, num_actions, num_scenes)
    data, trainer = trained.data(), trained.config.trainer
    splits = [config.bank or data.train_split, config.query or default_query(data)]
    rank, world_size, local_rank = process()
    where = device(trainer, local_rank)
    stage = trained.stage(data, splits)
    encoder = VideoEncoder(trained.model, trained.matcher, stage, where, trainer.precision)
    settings = instantiate(config.settings)
    cache = Path(config.cache or run_folder(checkpoint) / "features")
    sets = []
    for split in splits:
        chunks = FeatureChunks(cache, feature_sources(encoder, data, split, settings))
        extract_features(encoder, data, split, chunks, settings, rank, world_size)
        sets.append(chunks)
    if any(chunks.missing() for chunks in sets):
        return None
    about = {
        "checkpoint": str(checkpoint),
        "data": type(data).__name__.lower(),
        "bank": splits[0],
        "query": splits[1],
        "unreadable": {
            split: list(chunks.unreadable().values())
            for split, chunks in zip(splits, sets, strict=True)
        },
        "settings": OmegaConf.to_container(config.settings),
        "device": where,
    }
    bank, queries = (SlotFeatures.read(chunks) for chunks in sets)
    return (bank, queries), about


def default_query(data: VideoDataModule) -> str:
    """The split `test`, or the first of those that are neither for training nor validation."""
    return "test" if "test" in data.splits else data.test_splits[0]


def run_folder(checkpoint: str) -> Path:
    """The folder of the run that wrote a checkpoint; of one that was moved, where it lies now."""
    folder = Path(checkpoint).absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


if __name__ == "__main__":
    main()
