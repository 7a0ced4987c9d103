"""How well each mask extractor finds the actor: measured where the truth is known, drawn elsewhere.

    devias masks
    devias masks fame fame:beta=0.3 motion_em split=test_unseen clips=200
    devias masks fame motion_em experiment=ucf101 videos=FOLDER

An extractor is an option of the group `masks`, perhaps with other settings behind a colon. Without
any, all are taken that can be loaded. On data with ground-truth masks it prints a table and writes
it to the folder `output`; the figure there shows masks in any case. `videos` takes all video files
below a folder instead, sampled and sized as the experiment's data would be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from devias.cli.command import command
from devias.config import config_dir
from devias.config.compose import compose_plain
from devias.config.messages import explain_words
from devias.errors import ConfigError

if TYPE_CHECKING:
    from devias.data.records import VideoRecord
    from devias.masks.base import MaskExtractor
    from devias.masks.quality import Quality
    from devias.structures import ClipBatch

FIGURE_CLIPS = 12
OWN_KEYS = ("augment", "clips", "device", "extractors", "masks", "output", "split", "videos")
"""Keys of the command line that an extractor's configuration is composed without."""


def names_as_override(words: Sequence[str]) -> list[str]:
    """Extractors named bare, `fame` and `fame:beta=0.3`, as `extractors=[…]`."""
    names = [word for word in words if re.match(r"[A-Za-z]\w*(:|$)", word)]
    listed = ",".join(f'"{name}"' for name in names)
    others = [word for word in words if word not in names]
    return [*others, f"extractors=[{listed}]"] if names else others


@command("mask_quality", rewrite=names_as_override)
def main(config: DictConfig) -> None:
    """Measure, print and write."""
    compare(config, HydraConfig.get().overrides.task)


def compare(config: DictConfig, overrides: Sequence[str] = ()) -> dict[str, Quality]:
    """Run the extractors on the same clips.

    Args:
        config: of `conf/mask_quality.yaml`.
        overrides: those it was composed with.

    Returns:
        What each extractor reached, by its name.

    Raises:
        ConfigError: an extractor does not load, or there are no clips to look at.
    """
    import torch

    from devias.files import write_text
    from devias.masks.quality import measure
    from devias.reporting.plots.masks import mask_figure, mask_table
    from devias.reporting.plots.style import save_figure

    if config.clips < 1:
        raise ConfigError(f"clips must be at least 1, not {config.clips}")
    clips = [batch.to(config.device) for batch in middle_clips(config)]
    options = (path.stem for path in Path(config_dir(), "masks").glob("*.yaml"))
    shared = [word for word in overrides if re.split(r"[.=]", word.lstrip("+~"))[0] not in OWN_KEYS]
    qualities = {}
    for name in config.extractors or sorted(options):
        try:
            extractor = load_extractor(name, shared)
        except (ConfigError, FileNotFoundError) as error:
            if config.extractors:
                raise
            print(f"{name} is left out, it does not load: {error}")
            continue
        if isinstance(extractor, torch.nn.Module):
            extractor.to(config.device)
        if extractor is None or (config.videos and extractor.requires):
            continue
        qualities[name] = measure(extractor, clips)
    output = Path(config.output)
    if not config.videos:
        table = mask_table(qualities)
        print(table)
        write_text(output / "table.md", table)
    save_figure(mask_figure(clips[0], qualities, FIGURE_CLIPS), output / "masks.png")
    return qualities


def load_extractor(name: str, overrides: Sequence[str] = ()) -> MaskExtractor | None:
    """Build `name[:key=value,…]` of `conf/masks`; `none` is `None`.

    Args:
        name: with settings, if other than those of the file.
        overrides: of the command line that settings may follow from.

    Raises:
        ConfigError: there is no such extractor or setting.
    """
    from devias.config.instantiate import instantiate

    option, _, changes = name.partition(":")
    keys = [f"masks.{change}" for change in changes.split(",") if change]
    try:
        config = compose_plain("mask_quality", [*overrides, f"masks={option}", *keys])
    except HydraException as error:
        raise ConfigError(explain_words(error, "mask_quality", [f"masks={option}"])) from error
    return None if config.masks is None else instantiate(config.masks)


def records_of(config: DictConfig) -> list[VideoRecord]:
    """The videos below the folder `videos`, or those of a split of the data."""
    from devias.config.instantiate import instantiate
    from devias.data.records import VideoRecord

    if config.videos:
        return [VideoRecord(path) for path in video_files(Path(config.videos))]
    datamodule = instantiate(config.data, batch_size=1)
    datamodule.prepare_data()
    return datamodule.records(config.split)


def video_files(folder: Path) -> list[Path]:
    """All video files below a folder, in the order of their names.

    Raises:
        ConfigError: there is none.
    """
    from devias.data.readers.video import VIDEO_SUFFIXES

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        raise ConfigError(f"there is no video below {folder.absolute()}")
    return files


def middle_clips(config: DictConfig) -> list[ClipBatch]:
    """The middle clip of up to `clips` videos, chosen at random, as the model sees them."""
    import torch
    from torch.utils.data import DataLoader

    from devias.data.dataset import EvalDataset, SampleKey, collate
    from devias.data.transforms import EvalTransform

    records = records_of(config)
    # The same for every extractor and call; classes take turns in the list, so no fixed step.
    order = torch.randperm(len(records), generator=torch.Generator().manual_seed(0))
    dataset = EvalDataset(
        [records[index] for index in order[: config.clips]],
        EvalTransform(config.data.image_size, num_crops=1),
        config.data.clip_length,
        config.data.stride,
        load_masks=True,
    )
    keys = [SampleKey(index) for index in range(len(dataset))]
    return list(DataLoader(dataset, batch_size=32, sampler=keys, collate_fn=collate))


if __name__ == "__main__":
    main()
