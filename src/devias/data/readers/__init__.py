"""Readers that return exactly the frames they are asked for."""

from __future__ import annotations

from pathlib import Path

from devias.data.readers.base import FrameReader, VideoError
from devias.data.readers.composite import CompositeReader
from devias.data.readers.frame_folder import FrameFolderReader
from devias.data.readers.image import IMAGE_SUFFIXES, ImageReader
from devias.data.readers.video import VideoReader
from devias.data.records import Composite

__all__ = ["FrameReader", "VideoError", "open_frames"]


def open_frames(path: Path | str, composite: Composite | None = None) -> FrameReader:
    """A reader of a folder of stills, an image (told by its suffix) or a video file.

    With `composite`, of the frames made of those of a folder.

    Raises:
        VideoError: `path` is missing, unreadable or holds no frame.
    """
    if composite is not None:
        return CompositeReader(path, composite)
    if Path(path).is_dir():
        return FrameFolderReader(path)
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return ImageReader(path)
    return VideoReader(path)
