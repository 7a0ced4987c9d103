"""Write the action and the scene representation of every video of a split, for others' tools.

    devias features checkpoint=RUN/checkpoints/best.ckpt split=test output=ucf101.parquet
    devias features checkpoint=… data=hmdb51 data.root=/hmdb51 split=test output=hmdb51.npz
    devias features checkpoint=released.pth num_actions=101 data=ucf101 split=test output=….parquet
    torchrun --nproc-per-node 8 -m devias features checkpoint=… split=train output=train.parquet

Columns: `id`, `action` and `scene` (labels, -1 where unknown), `action_feature`, `scene_feature`,
`action_confidence`, `scene_confidence`. The model is built as it was trained, whatever data it
looks at; words other than those of `conf/features.yaml` change the data and the scene model
(`scene_teacher=none` leaves scenes out). A run that was stopped continues; the processes of
torchrun or Slurm share the work. A video that cannot be read is left out and named at the end, and
in the table's metadata; the exit code is then 1.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from devias.cli.changes import as_additions, as_changes
from devias.cli.command import command
from devias.cli.processes import device, process
from devias.config.overrides import normalize_overrides
from devias.errors import DeviasError

if TYPE_CHECKING:
    from devias.evaluation.feature_files import FeatureChunks

log = logging.getLogger(__name__)

OWN_KEYS = (
    "checkpoint", "hydra", "num_actions", "num_scenes", "output", "overwrite", "settings", "split",
    "trust",
)  # fmt: skip


class UnreadableVideosError(DeviasError, RuntimeError):
    """Features were written, but not of all videos."""


@command("features", rewrite=partial(as_additions, own=OWN_KEYS))
def main(config: DictConfig) -> None:
    """Write the table."""
    features(config, as_changes(HydraConfig.get().overrides.task, OWN_KEYS))


def features(config: DictConfig, changes: Sequence[str] = ()) -> None:
    """Write the features of a split as `conf/features.yaml` describes.

    Args:
        config: of that file.
        changes: overrides of the checkpoint's configuration, for the data.

    Raises:
        CheckpointError, ConfigError: as `devias.training.trained.load_trained`.
        FeatureFileError: the output exists or cannot be written.
        UnreadableVideosError: the table is written without videos that could not be read.
    """
    from devias.config.instantiate import instantiate
    from devias.data.records import video_id
    from devias.evaluation.feature_files import FeatureChunks, check_output
    from devias.evaluation.features import (
        VideoEncoder,
        extract_features,
        feature_sources,
    )
    from devias.training.trained import load_trained

    output = Path(config.output)
    rank, world_size, local_rank = process()
    check_output(output, config.overwrite or rank > 0)
    settings = instantiate(config.settings)
    counts = config.num_actions, config.num_scenes
    words = normalize_overrides(changes)
    trained = load_trained(config.checkpoint, words, config.trust, *counts)
    data, trainer = trained.data(), trained.config.trainer
    encoder = VideoEncoder(
        trained.model,
        trained.matcher,
        trained.stage(data, [config.split]),
        device(trainer, local_rank),
        trainer.precision,
    )
    sources = feature_sources(encoder, data, config.split, settings)
    chunks = FeatureChunks(output.parent, sources, prefix=f".{output.name}-")
    extract_features(encoder, data, config.split, chunks, settings, rank, world_size)
    about = {"checkpoint": str(config.checkpoint), "split": config.split, "settings": sources}
    ids = [video_id(record, data.videos, data.root) for record in data.records(config.split)]
    _finish(output, chunks, ids, about)


def _finish(
    output: Path, chunks: FeatureChunks, ids: Sequence[str], about: dict[str, object]
) -> None:
    """Make the table of the chunks, in the process that ends last."""
    from devias.evaluation.feature_files import write_features

    with chunks.locked() as present:
        if not present or chunks.missing():
            return  # another process has made it, or will
        write_features(output, chunks, ids, about)
        unreadable = chunks.unreadable()
        chunks.remove()
    log.info("wrote %s: %d videos", output, len(ids) - len(unreadable))
    if unreadable:
        listed = "".join(f"\n  {why}" for why in list(unreadable.values())[:20])
        raise UnreadableVideosError(
            f"{output} lacks {len(unreadable)} of {len(ids)} videos, which cannot be read:{listed}"
        )


if __name__ == "__main__":
    main()
