"""What a run needs and this machine lacks, told at once, before anything starts."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from devias.config.instantiate import instantiate
from devias.data.datamodule import VideoDataModule
from devias.errors import DeviasError
from devias.evaluation.protocol import Protocol
from devias.weights.read import locate

WEIGHTS = (
    "weights",
    "backbone.weights",
    "model.source",
    "scene_teacher.model.path",
    "scene_teacher.model.weights",
)
"""Keys of the configuration that name weights."""


class MissingError(DeviasError, FileNotFoundError):
    """Files that a run needs are not there; the message lists all of them."""


def preflight(config: DictConfig) -> None:
    """Look for videos, annotation files and all weights of a composed configuration.

    Nothing large is read. Evaluation sets of other data may be absent: results name them.

    Raises:
        MissingError: says for each what to fetch from where and which key points to it.
        AnnotationError: a list is there but cannot be understood.
    """
    missing = [*_missing_weights(config), *_missing_data(config)]
    if missing:
        count = "1 thing is" if len(missing) == 1 else f"{len(missing)} things are"
        listed = "\n".join(
            f"{number}. {text}".replace("\n", "\n   ") for number, text in enumerate(missing, 1)
        )
        raise MissingError(f"{count} missing for this run:\n{listed}")


def _missing_weights(config: DictConfig) -> list[str]:
    missing = []
    for key in WEIGHTS:
        source = OmegaConf.select(config, key, throw_on_resolution_failure=False)
        if not source or (key == "backbone.weights" and config.weights):
            continue
        try:
            locate(source)
        except FileNotFoundError as error:
            missing.append(f"{key}: {error}")
    return missing


def _missing_data(config: DictConfig) -> list[str]:
    data: VideoDataModule = instantiate(config.data)
    protocol: Protocol = instantiate(config.protocol)
    sets = (protocol.validation if config.train else ()) + (protocol.sets if config.test else ())
    splits = [data.train_split] if config.train else []
    splits += [s.split for s in sets if s.data is None]
    missing = data.missing(dict.fromkeys(splits))
    return [f"data: {' '.join(missing)}\n{data.how_to_get()}"] if missing else []
