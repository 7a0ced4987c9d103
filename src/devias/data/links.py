"""Links that lead out of the folder of the videos: a list has no business elsewhere.

A list cannot name such a file by its path (`annotations.relative_path`), but by a link that came
with the videos. That takes a look at the disk, and a million looks when a run starts would take
minutes on a network disk: so a file is checked when it is opened, and a few when lists are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from devias.data.records import VideoRecord
from devias.errors import DeviasError


class OutsideLinkError(DeviasError, ValueError):
    """A video that is a link out of the folder; the message names file, link and line."""


def real_folders(folders: Iterable[Path]) -> tuple[str, ...]:
    """Folders as they really are, links followed: these may be links themselves."""
    return tuple(os.path.realpath(folder) for folder in folders)


def require_within(record: VideoRecord, folders: Sequence[str]) -> None:
    """Refuse a video that lies in none of some `real_folders`, links followed; none: any is fine.

    Of one that is made of several, all parts.

    Raises:
        OutsideLinkError: it lies elsewhere.
    """
    if not folders:
        return
    for file in _files(record):
        real = os.path.realpath(file)
        if not any(real.startswith(os.path.join(folder, "")) for folder in folders):
            raise OutsideLinkError(
                f"{record.source}: {file} leads out of the folder of the videos, to {real}; if "
                "that is meant, say follow_links=true of its data"
            )


def _files(record: VideoRecord) -> Iterator[Path | str]:
    """Everything that the frames of a record are read from."""
    yield record.file
    if (composite := record.composite) is not None:
        yield composite.masks
        if (background := composite.background) is not None:
            yield from (background.frames, background.masks)
