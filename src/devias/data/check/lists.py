"""What lists of videos tell by themselves: leaks between splits, wrong labels, counts, pairs."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devias.data.readers.image import IMAGE_SUFFIXES
from devias.data.readers.video import VIDEO_SUFFIXES
from devias.data.records import VideoRecord
from devias.structures import UNKNOWN

Records = Mapping[str, Sequence[VideoRecord]]
"""The records of each split."""
Pair = tuple[int, int]
"""Labels of action and scene."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something that a user should look at."""

    kind: str
    """Of a file `missing outside unreadable short`, of lists `label duplicate leak unlisted`."""
    split: str
    video: str
    """Its path."""
    source: str
    """`file:line` of the list that has it."""
    detail: str


def find_leaks(
    records: Records, train: str, recording_of: Callable[[VideoRecord], str]
) -> Iterator[Problem]:
    """Videos of other splits of whose recording training has a part, or which it holds whole."""
    trained = {recording_of(record): record for record in records.get(train, ())}
    for split, listed in records.items():
        for record in listed if split != train else ():
            if other := trained.get(recording_of(record)):
                what = "the same video" if other.path == record.path else "of the same recording"
                detail = f"{what} as {other.path.name} ({other.source}) of {train}"
                yield Problem("leak", split, str(record.path), record.source, detail)


def find_wrong_labels(records: Records, action_names: Sequence[str]) -> Iterator[Problem]:
    """Videos in the folder of another class than their list says."""
    classes = {_plain(name): label for label, name in enumerate(action_names)}
    for split, listed in records.items():
        for record in listed:
            label = classes.get(_plain(record.path.parent.name), record.action)
            if UNKNOWN not in (record.action, label) and label != record.action:
                detail = f"in the folder of {action_names[label]}, listed as "
                detail += action_names[record.action]
                yield Problem("label", split, str(record.path), record.source, detail)


def _plain(name: str) -> str:
    """A class name without what spellings of it differ in."""
    return "".join(filter(str.isalnum, name)).casefold()


def judge_equal(
    groups: Iterable[Sequence[Path]], records: Records, train: str
) -> Iterator[Problem]:
    """Files of the same bytes: a leak, a contradiction of labels or a mere duplicate."""
    places: dict[Path, list[tuple[str, VideoRecord]]] = defaultdict(list)
    for split, listed in records.items():
        for record in listed:
            places[record.path].append((split, record))
    for group in groups:
        first, *others = [place for path in group for place in places[path]]
        for split, record in others:
            if record.path == first[1].path:  # in the lists of two splits
                continue
            kind = "duplicate"
            if (split == train) != (first[0] == train):
                kind = "leak"
            elif record.action != first[1].action:
                kind = "label"
            detail = f"the same bytes as {first[1].path} ({first[0]}, {first[1].source})"
            yield Problem(kind, split, str(record.path), record.source, detail)


def find_unlisted(folder: Path, records: Records) -> Iterator[Problem]:
    """Videos and folders of stills below `folder` that no list names."""
    listed = {os.path.abspath(record.path) for split in records.values() for record in split}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(place, name) not in listed]
        for name in sorted(files):
            suffix, path = Path(name).suffix.lower(), os.path.join(place, name)
            if suffix in VIDEO_SUFFIXES and os.path.abspath(path) not in listed:
                yield Problem("unlisted", "", path, "", "in no list")
        if any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files):
            images = [os.path.abspath(os.path.join(place, name)) for name in files]
            if listed.isdisjoint(images):
                yield Problem("unlisted", "", place, "", "a folder of stills in no list")


def count_classes(records: Records, names: Sequence[str]) -> list[dict[str, str | int]]:
    """A row a class: its name, and its number of videos in each split."""
    counts = {split: Counter(r.action for r in listed) for split, listed in records.items()}
    return [
        {"class": name, **{split: counts[split][label] for split in records}}
        for label, name in enumerate(names)
    ]


def count_pairs(records: Records, train: str) -> dict[str, dict[Pair, tuple[int, int]]]:
    """How often each pair of a split occurs in it, and in training.

    Splits without videos of both labels are left out.
    """
    pairs = {
        split: Counter((r.action, r.scene) for r in listed if UNKNOWN not in (r.action, r.scene))
        for split, listed in records.items()
    }
    trained = pairs.get(train, Counter())
    if not trained:
        return {}
    return {
        split: {pair: (count, trained[pair]) for pair, count in sorted(found.items())}
        for split, found in pairs.items()
        if split != train and found
    }
