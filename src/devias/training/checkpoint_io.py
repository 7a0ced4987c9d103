"""Checkpoint files that are whole or not there at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from devias.files import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there at the end.

    Lightning writes to the system's temporary folder first; from there to another disk a move is
    a copy, and a run that is killed meanwhile leaves half a checkpoint in the place of the last.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save to a local path; folders are made as needed."""
        with atomic_path(path, shared=False) as partial:
            torch.save(checkpoint, partial)
            with partial.open("rb") as file:  # a machine that goes down may keep the name alone
                os.fsync(file.fileno())
