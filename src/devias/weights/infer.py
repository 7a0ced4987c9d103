"""A ready model from a weight file alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from devias.models.architecture import build
from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.transfer import TransferModel
from devias.weights.assign import load_backbone, load_weights, read_weights
from devias.weights.convert import RELEASED_SLOT_HEADS, Weights, count
from devias.weights.errors import WeightsError, some

log = logging.getLogger(__name__)

Description = dict[str, Any]

MOST_GROWTH, MOST_NEW = 4, 2**28
"""How many times the bytes of the weights a model may take, those of one byte a number becoming
float, and how many more for parts that start anew."""


def load_model(
    path: str | Path,
    num_actions: int | None = None,
    num_scenes: int | None = None,
    compat: Literal["paper", "official"] | None = None,
    *,
    image_size: int | Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
) -> DEVIAS | TokenViT | TransferModel:
    """Build the model that a weight file holds and load it, in evaluation mode.

    Sizes come from the weights and what is stored with them; arguments say what
    they do not. Weights without a head (pretraining) become a `DEVIAS` whose other parts are new.

    Args:
        path: a file, a Hugging Face folder or hub id, of any supported format.
        num_actions: N_A. A released DEVIAS says only N_A + N_S, so it needs one of the two.
        num_scenes: N_S.
        compat: whose slot attention: the paper's or the released code's. As the weights were
            trained, if not given.
        image_size: pixels of the clips they were trained on, one side or `(height, width)`.
        num_frames: frames of those clips.
        num_heads: attention heads of a block.

    Raises:
        MissingWeightsError: there is no such source.
        WeightsError: it cannot be read, lacks parameters, has other class counts, or something
            must be told; the message says what.
        ValueError: unknown `compat`.
    """
    if compat not in (None, "paper", "official"):
        raise ValueError(f"compat must be 'paper' or 'official', got {compat!r}")
    weights = read_weights(path)
    sizes = {"image_size": image_size, "num_frames": num_frames, "num_heads": num_heads}
    try:
        description = describe_weights(weights, num_actions, num_scenes, sizes)
    except WeightsError as error:
        raise WeightsError(f"{path} ({weights.format}): {error}") from error
    if compat and "slot_attention" in description:
        description["slot_attention"]["key_normalization"] = _key_normalization(compat)
    model = _build(weights, description)
    if not isinstance(model, DEVIAS | TokenViT | TransferModel):
        raise WeightsError(f"{path} describes a {type(model).__name__}, not a whole model")
    complete = any(name.startswith("head.") for name in weights.state)
    if complete and weights.architecture is None:
        # The model has the size they were trained on, so its own positions are theirs.
        weights = replace(weights, patches=None)
    report = load_weights(model, weights, strict=complete)
    log.log(logging.INFO if complete else logging.WARNING, "%s", report)
    return model.eval()


def load_vit(
    path: str | Path,
    *,
    image_size: int | Sequence[int] | None = None,
    num_frames: int | None = None,
    num_heads: int | None = None,
) -> VideoViT:
    """Build and load the backbone alone of what a weight file holds; arguments as `load_model`.

    Raises:
        MissingWeightsError: there is no such source.
        WeightsError: it cannot be read, lacks parameters, or something must be told.
    """
    weights = read_weights(path)
    sizes = {"image_size": image_size, "num_frames": num_frames, "num_heads": num_heads}
    try:
        description = _stored_backbone(weights) or _backbone(weights, sizes)
    except WeightsError as error:
        raise WeightsError(f"{path} ({weights.format}): {error}") from error
    backbone = _build(weights, description)
    assert isinstance(backbone, VideoViT)
    if weights.architecture is None:
        weights = replace(weights, patches=None)  # as in `load_model`
    log.info("%s", load_backbone(backbone, weights))
    return backbone.eval()


def _build(weights: Weights, description: Description) -> nn.Module:
    """The model of a description, if it is one of the size of the weights.

    Raises:
        WeightsError: it is none, or another size altogether; no memory was taken for it.
    """
    try:
        with torch.device("meta"):
            plan = build(description).state_dict()
        needed, stored = (sum(t.nbytes for t in s.values()) for s in (plan, weights.state))
        if needed > MOST_GROWTH * stored + MOST_NEW:
            raise ValueError(f"of {stored} bytes, they describe a model of {needed}")
        return build(description)
    except ValueError as error:
        raise WeightsError(f"{weights.source} ({weights.format}): {error}") from error


def _stored_backbone(weights: Weights) -> Description | None:
    """The description of the backbone in our own files, of a whole model or of it alone."""
    stored = weights.architecture
    if not stored:
        return None
    stored = stored.get("source", stored)
    return stored.get("backbone", stored)


def describe_weights(
    weights: Weights,
    num_actions: int | None = None,
    num_scenes: int | None = None,
    sizes: Description | None = None,
) -> Description:
    """What to build for weights, in the form of `devias.models.architecture.describe`.

    Args:
        weights: of a whole model, or of a backbone.
        num_actions: as in `load_model`.
        num_scenes: likewise.
        sizes: likewise: `image_size`, `num_frames`, `num_heads`.

    Raises:
        WeightsError: something must be told, or is told otherwise by the weights.
    """
    stored = weights.architecture
    head = stored and (stored.get("head") or stored.get("classifier"))
    if stored and head:
        for name, told in (("num_actions", num_actions), ("num_scenes", num_scenes)):
            if told not in (None, head.get(name, 0)):
                raise WeightsError(f"{name} is {head.get(name, 0)}, not {told}")
        return stored
    backbone = _stored_backbone(weights) or _backbone(weights, sizes or {})
    dim = backbone["embed_dim"]
    has_slots = any(name.startswith("slot_attention.") for name in weights.state)
    if not any(name.startswith("head.") for name in weights.state):
        if has_slots:
            found = some(name for name in weights.ignored if "head" in name) or "none"
            raise WeightsError(f"they have slots but no linear head over them; found was {found}")
        return _fresh_devias(backbone, num_actions, num_scenes)
    roles = 2 if has_slots else backbone["num_tokens"]
    head = {"dim": dim, **_head(weights, num_actions, num_scenes, roles)}
    if not has_slots:
        pooling = "tokens" if backbone["num_tokens"] else "mean"
        return {"type": "TokenViT", "backbone": backbone, "head": head, "pooling": pooling}
    return {
        "type": "DEVIAS",
        "backbone": backbone,
        "slot_attention": _slot_attention(weights, dim),
        "head": head,
        "mask_decoder": _mask_decoder(weights, dim),
    }


def _backbone(weights: Weights, sizes: Description) -> Description:
    kernel = _shape(weights, "backbone.patch_embed.proj.weight")
    dim, patch = kernel[0], kernel[-1]
    tubelet = kernel[2] if len(kernel) == 5 else 2
    frames, size = sizes.get("num_frames"), sizes.get("image_size")
    if weights.tubelets:
        frames = frames or weights.tubelets * tubelet
    if weights.patches:
        size = size or [side * patch for side in weights.patches]
    if len(kernel) == 4:  # an image ViT says its size by its positions; a class token adds one
        positions = _shape(weights, "backbone.pos_embed")[1]
        frames, size = frames or 16, size or math.isqrt(positions) * patch
    for name, value in (("num_frames", frames), ("image_size", size)):
        if value is None:
            raise WeightsError(f"they do not say on what clips they were trained: give {name}")
    blocks = {name.split(".")[2] for name in weights.state if name.startswith("backbone.blocks.")}
    has_tokens = "backbone.tokens" in weights.state
    return {
        "type": "VideoViT",
        "image_size": size,
        "num_frames": frames,
        "patch_size": patch,
        "tubelet_size": tubelet,
        "embed_dim": dim,
        "depth": len(blocks),
        "num_heads": sizes.get("num_heads") or _num_heads(weights, dim),
        "mlp_ratio": _ratio(_shape(weights, "backbone.blocks.0.mlp.fc1.weight")[0], dim),
        "num_tokens": _shape(weights, "backbone.tokens")[1] if has_tokens else 0,
        "final_norm": "fc_norm.weight" not in weights.state,
    }


def _slot_attention(weights: Weights, dim: int) -> Description:
    if weights.iterations is None:
        raise WeightsError("they do not say how many rounds of slot attention they were made for")
    update = "slot_attention.updates.0"
    return {
        "type": "SlotAttention",
        "dim": dim,
        "num_slots": _shape(weights, "slot_attention.slots")[0],
        "iterations": weights.iterations,
        "shared": "slot_attention.updates.1.to_q.weight" not in weights.state,
        "num_heads": RELEASED_SLOT_HEADS,
        "head_dim": _shape(weights, f"{update}.to_q.weight")[0] // RELEASED_SLOT_HEADS,
        "mlp_ratio": _ratio(_shape(weights, f"{update}.mlp.0.weight")[0], dim),
        "key_normalization": _key_normalization("official"),
    }


def _mask_decoder(weights: Weights, dim: int) -> Description | None:
    layers = sorted(
        (int(name.split(".")[2]), len(tensor))
        for name, tensor in weights.state.items()
        if name.startswith("mask_decoder.layers.") and name.endswith(".weight")
    )
    if not layers:
        return None
    *hidden, output = [rows for _, rows in layers]
    return {"type": "MaskDecoder", "dim": dim, "output": output, "hidden_dims": hidden}


def _fresh_devias(backbone: Description, actions: int | None, scenes: int | None) -> Description:
    """`DEVIAS` around pretrained weights, its other parts of the default sizes."""
    if actions is None or scenes is None:
        raise WeightsError("they hold no head: give num_actions and num_scenes of a new one")
    backbone = {**backbone, "num_tokens": 0, "final_norm": True}
    dim = backbone["embed_dim"]
    size, patch = backbone["image_size"], backbone["patch_size"]
    height, width = (size, size) if isinstance(size, int) else size
    head = {"type": "UnifiedHead", "dim": dim, "num_actions": actions, "num_scenes": scenes}
    decoder = {"type": "MaskDecoder", "dim": dim, "output": (height // patch) * (width // patch)}
    return {
        "type": "DEVIAS",
        "backbone": backbone,
        "slot_attention": {"type": "SlotAttention", "dim": dim},
        "head": head,
        "mask_decoder": decoder,
    }


def _head(
    weights: Weights, num_actions: int | None, num_scenes: int | None, roles: int
) -> Description:
    """The head's kind and class counts, from its rows and from what the caller says."""
    if "head.scene.weight" in weights.state:
        actions = _shape(weights, "head.action.weight")[0]
        scenes = _shape(weights, "head.scene.weight")[0]
        if num_actions not in (None, actions) or num_scenes not in (None, scenes):
            raise WeightsError(
                f"its heads have {actions} action and {scenes} scene classes, "
                f"not {num_actions} and {num_scenes}"
            )
        return {"type": "SeparateHeads", "num_actions": actions, "num_scenes": scenes}
    rows = _shape(weights, "head.fc.weight")[0]
    counts = {"type": "UnifiedHead"}
    if roles < 2 and rows != (num_actions or 0) + (num_scenes or 0):
        return counts | _single_task(rows, num_actions, num_scenes, scenes_first=roles == 1)
    if num_actions is None and num_scenes is None:
        num_actions = count(weights.settings, "nb_classes")  # the released command line's name
    if num_actions is None and num_scenes is None:
        raise WeightsError(f"its head has {rows} classes in all: give num_actions or num_scenes")
    if num_actions is None:
        num_actions = rows - (num_scenes or 0)
    if num_scenes is None:
        num_scenes = rows - num_actions
    if min(num_actions, num_scenes) < 0 or num_actions + num_scenes != rows:
        raise WeightsError(
            f"its head has {rows} classes in all, not {num_actions} actions + {num_scenes} scenes"
        )
    return counts | {"num_actions": num_actions, "num_scenes": num_scenes}


def _single_task(
    rows: int, num_actions: int | None, num_scenes: int | None, scenes_first: bool
) -> Description:
    """Class counts of a head for one role, the one whose count the caller names.

    Where nobody says, class tokens are the scene model's and pooled patches an action model's.
    """
    told = {"num_actions": num_actions, "num_scenes": num_scenes}
    roles = list(reversed(told)) if scenes_first else list(told)
    fitting = [role for role in roles if told[role] == rows]
    if not fitting and any(told.values()):
        raise WeightsError(
            f"its head has {rows} classes; told were {num_actions} actions, {num_scenes} scenes"
        )
    role = (fitting or roles)[0]
    return {name: rows if name == role else 0 for name in told}


def _key_normalization(compat: Literal["paper", "official"]) -> str:
    return "l2" if compat == "paper" else "l1"


def _num_heads(weights: Weights, dim: int) -> int:
    """Heads of a ViT, which weights do not show: 64 channels each, but for the largest."""
    told = count(weights.settings, "num_attention_heads")
    if told:
        return told
    if dim in (1280, 1408):  # ViT-H and ViT-g have 16 heads, of 80 and 88 channels
        return 16
    if dim % 64:
        raise WeightsError(f"the width {dim} does not tell the number of heads: give num_heads")
    return dim // 64


def _ratio(hidden: int, dim: int) -> float:
    """The ratio r for which `int(dim * r)` is `hidden`, rounding errors or not."""
    ratio = hidden / dim
    return ratio if int(dim * ratio) == hidden else (hidden + 0.5) / dim


def _shape(weights: Weights, name: str) -> list[int]:
    if name not in weights.state:
        raise WeightsError(f"{name} is missing")
    return list(weights.state[name].shape)
