"""Tells whether a video is still the one it was, from a few blocks of its content.

A flipped, transcoded or replaced video may have as many frames as the one that was labeled.
Encoded anew, a video has another size and other bytes throughout, so a few blocks show it, where
hashing whole files would cost hours on a network disk.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from devias.data.readers import VideoError

FINGERPRINT_SIZE = 16
"""Bytes of a fingerprint."""
_BLOCK = 1 << 16
_BLOCKS = 9


def fingerprint(path: Path) -> bytes:
    """The fingerprint of a video or image file, or of a folder of frames: 16 bytes.

    Of a file count its size and 9 blocks of 64 KiB from its start to its end; all of it if it is
    not larger. Of a folder count the names and sizes of its files, hidden ones left out, and the
    first block of 9 of them. Place and times don't count: a copy has the same fingerprint.

    Raises:
        VideoError: it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=FINGERPRINT_SIZE)
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                files = [e for e in entries if e.is_file() and not e.name.startswith(".")]
            files.sort(key=lambda entry: entry.name)
            for file in files:
                digest.update(b"%s\0%d\0" % (os.fsencode(file.name), file.stat().st_size))
            for place in _spread(len(files), _BLOCKS):
                digest.update(b"".join(_blocks(Path(files[place].path), 1)))
        else:
            digest.update(b"%d\0" % path.stat().st_size)
            digest.update(b"".join(_blocks(path, _BLOCKS)))
    except OSError as error:
        raise VideoError(f"{path}: {error.strerror or error}") from error
    return digest.digest()


def _blocks(path: Path, count: int) -> list[bytes]:
    """Up to `count` blocks of a file, evenly spaced from its first byte to its last."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= count * _BLOCK:
            return [file.read(count * _BLOCK)]
        blocks = []
        for offset in _spread(size - _BLOCK + 1, count):
            file.seek(offset)
            blocks.append(file.read(_BLOCK))
        return blocks


def _spread(size: int, count: int) -> list[int]:
    """Up to `count` places, evenly spaced from 0 to `size - 1`."""
    count = min(size, count)
    return [place * (size - 1) // max(count - 1, 1) for place in range(count)]
