"""How well each mask extractor finds the actor: measured where the truth is known, drawn elsewhere.

    python -m devias.mask_quality
    python -m devias.mask_quality fame fame:beta=0.3 motion_em --split test_unseen --clips 200
    python -m devias.mask_quality fame motion_em --experiment ucf101 --videos FOLDER

An extractor is the name of a file in `conf/masks`, perhaps with other settings behind a colon.
Without any, all are taken that can be loaded. On data with true masks it prints a table and writes
it to the output folder; the figure there shows masks in any case. `--videos` takes all video files
below a folder instead, sampled and sized as the experiment's data would be.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from devias.config import compose, config_dir
from devias.data.dataset import EvalDataset, SampleKey, collate
from devias.data.records import VideoRecord
from devias.data.transforms import EvalTransform
from devias.files import write_text
from devias.masks.base import MaskExtractor
from devias.masks.quality import Quality, measure
from devias.reporting.plots.masks import mask_figure, mask_table
from devias.reporting.plots.style import save_figure
from devias.structures import ClipBatch

FIGURE_CLIPS = 12
VIDEO_SUFFIXES = {".avi", ".mkv", ".mov", ".mp4", ".webm"}


def main(arguments: Sequence[str] | None = None) -> dict[str, Quality]:
    """Measure, print and write what the command line asks for."""
    parser = argparse.ArgumentParser(description="Compare human-mask extractors.")
    parser.add_argument("extractors", nargs="*", help="name[:key=value,…] from conf/masks")
    parser.add_argument("--split", default="val_unseen", help="of the data set (%(default)s)")
    parser.add_argument("--clips", type=int, default=160, help="how many of it (%(default)s)")
    parser.add_argument("--videos", type=Path, help="a folder of videos instead, without truth")
    parser.add_argument("--experiment", default="synthetic", help="sets the data (%(default)s)")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="such as data.image_size=64"
    )
    parser.add_argument("--device", default="cpu", help="%(default)s, cuda, …")
    parser.add_argument("--output", type=Path, default=Path("runs/mask_quality"), help="folder")
    args = parser.parse_args(arguments)
    if args.clips < 1:
        parser.error("--clips must be at least 1")

    settings = [f"experiment={args.experiment}", "masks=none", "augment=none"]
    config = compose(*settings, *args.set)
    if args.videos:
        records = [VideoRecord(path) for path in video_files(args.videos)]
    else:
        records = labelled_records(config, args.split)
    batches = [batch.to(args.device) for batch in middle_clips(config, records, args.clips)]
    names = args.extractors or sorted(
        path.stem for path in Path(config_dir(), "masks").glob("*.yaml")
    )
    qualities = {}
    for name in names:
        try:
            extractor = load_extractor(name, args.experiment)
        except Exception as error:
            if args.extractors:
                raise
            print(f"{name} is left out, it does not load: {error}")
            continue
        if isinstance(extractor, torch.nn.Module):
            extractor.to(args.device)
        if extractor is None or (args.videos and extractor.requires):
            continue
        qualities[name] = measure(extractor, batches)
    if not args.videos:
        table = mask_table(qualities)
        print(table)
        write_text(args.output / "table.md", table)
    figure = mask_figure(batches[0], qualities, FIGURE_CLIPS)
    save_figure(figure, args.output / "masks.png")
    return qualities


def load_extractor(name: str, experiment: str) -> MaskExtractor | None:
    """Build `name[:key=value,…]` of `conf/masks`; `none` is `None`."""
    name, _, changes = name.partition(":")
    keys = [f"masks.{change}" for change in changes.split(",") if change]
    config = compose(f"experiment={experiment}", f"masks={name}", *keys)
    return None if config.masks is None else instantiate(config.masks)


def labelled_records(config: DictConfig, split: str) -> list[VideoRecord]:
    """The records of a split of the experiment's data."""
    datamodule = instantiate(config.data, batch_size=1)
    datamodule.prepare_data()
    return datamodule.records(split)


def video_files(folder: Path) -> list[Path]:
    """All video files below a folder, in the order of their names.

    Raises:
        FileNotFoundError: there is none.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"there is no video below {folder.absolute()}")
    return files


def middle_clips(config: DictConfig, records: list[VideoRecord], most: int) -> list[ClipBatch]:
    """The middle clip of up to `most` videos, chosen at random, as the model sees them."""
    # The same for every extractor and call; classes take turns in the list, so no fixed step.
    order = torch.randperm(len(records), generator=torch.Generator().manual_seed(0))
    dataset = EvalDataset(
        [records[index] for index in order[:most]],
        EvalTransform(config.data.image_size, num_crops=1),
        config.data.clip_length,
        config.data.stride,
        load_masks=True,
    )
    draws = [SampleKey(index) for index in range(len(dataset))]
    return list(DataLoader(dataset, batch_size=32, sampler=draws, collate_fn=collate))


if __name__ == "__main__":
    main()
