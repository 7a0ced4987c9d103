"""Look at every video and list of a dataset, and tell what is wrong.

    devias check data=ucf101 data.root=/data/ucf101
    devias check data=folder data.root=FOLDER every_frame=true allow=[]
    devias check experiment=ucf101 data.root=/data/ucf101 eval_data.hat.root=/data/hat

Opens all videos in `data.num_workers` processes and decodes the first and the last frame, or all.
Tells of videos that are missing, links to elsewhere, unreadable, shorter than a clip, in the folder
of another class, equal byte for byte, of one recording in training and test, or in no list; counts
the classes; and for data with labels of both kinds audits which pairs of the test sets training
holds. Writes problems.csv, classes.csv and pairs.csv to `output`. Where the protocol brings other
evaluation data along, as UCF-101's does SCUBA and HAT, their files are opened as well. The exit
code is 1 if there is a problem of a kind that is not in `allow`.

(`devias train … --check` tells what a whole run lacks, in a second.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from devias.cli.command import command

if TYPE_CHECKING:
    from devias.data.check.lists import Problem
    from devias.data.datamodule import VideoDataModule


@command("check")
def main(config: DictConfig) -> None:
    """Check, print and write."""
    problems = check(config)
    if any(problem.kind not in config.allow for problem in problems):
        sys.exit(1)


def check(config: DictConfig) -> list[Problem]:
    """All problems of the dataset `config.data`, and of those that the protocol brings along.

    Raises:
        AnnotationError: a list has broken rows.
        MissingDataError: a list is not there, or all videos of a split.
    """
    from devias.config.instantiate import instantiate
    from devias.data.datamodule import MissingDataError

    output = Path(config.output)
    data = instantiate(config.data)
    data.prepare_data()
    problems = check_data(data, data.splits, config.every_frame, output)
    for name, option in config.eval_data.items():
        other = instantiate(option)
        splits = []
        for s in (s for s in config.protocol.sets.values() if s and s.get("data") == name):
            try:
                other.records(s.split)
            except MissingDataError as error:
                print(f"{name}: {error.what}")
            else:
                splits.append(s.split)
        if splits:
            problems += check_data(other, splits, config.every_frame, output / name)
    return problems


def check_data(
    data: VideoDataModule, splits: Sequence[str], every_frame: bool, output: Path
) -> list[Problem]:
    """The problems of some splits, sorted by kind, split and video; printed and written as well.

    Args:
        data: of the dataset.
        splits: some of its splits.
        every_frame: decode all frames of a video, not its first and last.
        output: a folder.
    """
    from rich.progress import track

    from devias.data.check.files import equal_files, inspect_videos
    from devias.data.check.lists import (
        Problem,
        find_leaks,
        find_unlisted,
        find_wrong_labels,
        judge_equal,
    )
    from devias.reporting.dataset_check import report_check

    records = {split: data.records(split) for split in splits}
    # Splits may share a list; its videos are opened once.
    places = {(r.path, r.start, r.end, r.composite): (s, r) for s in records for r in records[s]}
    span = (data.clip_length - 1) * data.stride + 1
    listed = [record for _, record in places.values()]
    states = inspect_videos(listed, span, every_frame, data.num_workers, data.real_folders)
    opened = track(zip(places.values(), states, strict=True), "Opening", total=len(places))
    problems = [
        Problem(state.fault, split, str(record.path), record.source, state.detail)
        for (split, record), state in opened
        if state.fault
    ]
    if data.train_split in splits:
        equal = equal_files([record.path for record in listed], data.num_workers)
        problems += judge_equal(equal, records, data.train_split)
        problems += find_leaks(records, data.train_split, data.recording_of)
        problems += find_wrong_labels(records, data.action_names)
        problems += find_unlisted(data.videos, records)
    problems = sorted(set(problems))
    report_check(output, problems, records, data)
    return problems


if __name__ == "__main__":
    main()
