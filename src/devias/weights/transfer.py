"""Building a `TransferModel` from the weights of a whole model."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devias.models.architecture import build
from devias.models.matching import Assignment
from devias.models.transfer import SlotClassifier, TransferModel
from devias.weights.assign import load_weights, read_weights
from devias.weights.errors import WeightsError
from devias.weights.infer import Description, describe_weights

log = logging.getLogger(__name__)

TRAINING_ONLY = ("mask_decoder", "segmentation_decoder")
"""Parts of a source that its slots do without."""


def transfer_model(
    classifier: Callable[..., SlotClassifier],
    source: str | Path | None = None,
    architecture: Description | None = None,
    assignment: Assignment | None = None,
    linear_probe: bool = False,
    source_actions: int | None = None,
    source_scenes: int | None = None,
    **backbone: Any,
) -> TransferModel:
    """A new classifier over the slots of a trained model.

    Args:
        classifier: makes it of the slots' width, `dim`.
        source: weights of a whole model in any supported format; `None` leaves the model of
            `architecture` random, for weights that are loaded afterwards.
        architecture: the source's, as `source_architecture`; as the weights tell, if not given.
        assignment: of slots to roles; tokens have fixed roles, if not given, and slots those that
            the head gives them.
        linear_probe: train the classifier alone.
        source_actions: N_A of the source, where its weights do not tell.
        source_scenes: N_S, likewise.
        backbone: settings of the source's that are other than in its training. Positions are
            interpolated for clips of another size.

    Raises:
        MissingWeightsError: there is no such source.
        WeightsError: neither source nor architecture is given, or the source is no whole model.
        ValueError: the architecture is no model's.
    """
    if architecture is None:
        if source is None:
            raise WeightsError("say which trained model to start from: model.source=CHECKPOINT")
        architecture = source_architecture(source, source_actions, source_scenes)
    architecture = copy.deepcopy(architecture)
    architecture["backbone"] |= backbone
    trained = build(architecture)
    if assignment is None:
        assignment = "fixed" if architecture["type"] == "TokenViT" else "hungarian"
    if source is not None:
        log.info("%s", load_weights(trained, source))  # type: ignore[arg-type]
    dim = architecture["backbone"]["embed_dim"]
    return TransferModel(trained, classifier(dim=dim), assignment, linear_probe)


def source_architecture(
    source: str | Path, num_actions: int | None = None, num_scenes: int | None = None
) -> Description:
    """What the model in a weight file is built of, without the parts that only its training needs.

    Raises:
        MissingWeightsError: there is no such source.
        WeightsError: it is no whole model with a head, or something must be told.
    """
    weights = read_weights(source)
    if not any(name.startswith("head.") for name in weights.state):
        raise WeightsError(
            f"{source} ({weights.format}) has no head, which tells the slots' roles: a transfer "
            "starts from a whole model; backbone.weights takes this one"
        )
    try:
        found = describe_weights(weights, num_actions, num_scenes)
    except WeightsError as error:
        raise WeightsError(f"{source} ({weights.format}): {error}") from error
    found = copy.deepcopy(found.get("source", found))  # of a transferred model its own source
    return {name: value for name, value in found.items() if name not in TRAINING_ONLY}
