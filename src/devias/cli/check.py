"""Look at every video and list of a dataset, and tell what is wrong.

    devias check data=ucf101 data.root=/data/ucf101
    devias check data=folder data.root=FOLDER every_frame=true allow=[]

Opens all videos in `data.num_workers` processes and decodes the first and the last frame, or all.
Tells of videos that are missing, unreadable, shorter than a clip, in the folder of another class,
equal byte for byte, of one recording in training and test, or in no list; counts the classes; and
for data with labels of both kinds audits which pairs of the test sets training holds. Writes
problems.csv, classes.csv and pairs.csv to `output`. The exit code is 1 if there is a problem of a
kind that is not in `allow`. (`devias train … --check` tells what a whole run lacks, in a second.)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from devias.cli.command import command

if TYPE_CHECKING:
    from devias.data.check.lists import Problem


@command("check")
def main(config: DictConfig) -> None:
    """Check, print and write."""
    problems = check(config)
    if any(problem.kind not in config.allow for problem in problems):
        sys.exit(1)


def check(config: DictConfig) -> list[Problem]:
    """All problems of the dataset `config.data`, sorted by kind, split and video.

    Raises:
        AnnotationError: a list has broken rows.
        MissingDataError: a list is not there, or all videos of a split.
    """
    from rich.progress import track

    from devias.config.instantiate import instantiate
    from devias.data.check.files import equal_files, inspect_videos
    from devias.data.check.lists import (
        Problem,
        find_leaks,
        find_unlisted,
        find_wrong_labels,
        judge_equal,
    )
    from devias.reporting.dataset_check import report_check

    data = instantiate(config.data)
    data.prepare_data()
    records = {split: data.records(split) for split in data.splits}
    # Splits may share a list; its videos are opened once.
    places = {(r.path, r.start, r.end): (s, r) for s in records for r in records[s]}
    span = (data.clip_length - 1) * data.stride + 1
    states = inspect_videos(
        [record for _, record in places.values()], span, config.every_frame, data.num_workers
    )
    opened = track(zip(places.values(), states, strict=True), "Opening", total=len(places))
    problems = [
        Problem(state.fault, split, str(record.path), record.source, state.detail)
        for (split, record), state in opened
        if state.fault
    ]
    equal = equal_files([path for path, _, _ in places], data.num_workers)
    problems += judge_equal(equal, records, data.train_split)
    problems += find_leaks(records, data.train_split, data.recording_of)
    problems += find_wrong_labels(records, data.action_names)
    problems += find_unlisted(data.videos, records)
    problems = sorted(set(problems))
    report_check(Path(config.output), problems, records, data)
    return problems


if __name__ == "__main__":
    main()
