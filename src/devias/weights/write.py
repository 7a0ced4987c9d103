"""Writing weights: as safetensors that say what model they are of, or in the released layout."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from devias.files import atomic_path, write_text
from devias.models.architecture import describe
from devias.models.backbone import sincos_positions
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads
from devias.models.mask_decoder import PixelDecoder
from devias.weights.convert import (
    RELEASED,
    RELEASED_SLOT_HEADS,
    SEPARATE_HEADS,
    State,
    rename,
)
from devias.weights.errors import WeightsError, some
from devias.weights.read import ARCHITECTURE


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write a model of this package as safetensors; `load_model` needs nothing else.

    The file appears at once, whole or not at all.
    """
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    metadata = {ARCHITECTURE: json.dumps(describe(model))}
    with atomic_path(path) as partial:
        partial.write_bytes(save(state, metadata))  # files of `save_file` only their owner may read


def save_description(model: nn.Module, path: str | Path) -> None:
    """Write what the model was built with as JSON, for people and other programs; likewise whole.

    The safetensors file holds the same; nothing here reads this one.
    """
    write_text(path, json.dumps(describe(model), indent=2) + "\n")


def save_released(model: nn.Module, path: str | Path) -> None:
    """Write a `DEVIAS` or `TokenViT` as a checkpoint that the released code loads; likewise whole.

    Raises:
        WeightsError: the released code could not compute what the model computes.
    """
    if not isinstance(model, DEVIAS | TokenViT):
        raise WeightsError(f"the released layout is for whole models, not a {type(model).__name__}")
    content = {"model": released_state(model)}
    with atomic_path(path) as partial, partial.open("wb") as file:
        torch.save(content, file)  # by a path it would take no name that begins with a dot


def released_state(model: DEVIAS | TokenViT) -> State:
    """The weights of a `DEVIAS` or `TokenViT` under the names of the released code.

    That code adds no bias to keys; ours may have learnt one, but it shifts all scores of a query
    alike and so changes nothing.

    Raises:
        WeightsError: the released code could not compute what the model computes.
    """
    _check_released(model)
    separate = isinstance(model.head, SeparateHeads)
    reverse = [(ours, theirs) for theirs, ours in (SEPARATE_HEADS if separate else RELEASED)]
    state, left = rename(model.state_dict(), reverse)
    if left:
        raise WeightsError(f"the released code has no place for {some(left)}")
    del state["pos_embed"]
    if "tokens" in state:
        tokens = state.pop("tokens")
        state |= dict(zip(("cls_token", "scene_token"), tokens.split(1, dim=1), strict=False))
    for name in [name for name in state if name.endswith("attn.qkv.bias")]:
        q, _, v = state.pop(name).chunk(3)
        state[name.replace("qkv.bias", "q_bias")] = q
        state[name.replace("qkv.bias", "v_bias")] = v
    if isinstance(model, DEVIAS) and model.slot_attention.shared:
        first = {k: t for k, t in state.items() if k.startswith("agg_block.layers.0.")}
        for i in range(1, model.slot_attention.iterations):  # tied rounds are written out
            state |= {re.sub(r"layers\.0", f"layers.{i}", k, count=1): t for k, t in first.items()}
    return state


def _check_released(model: DEVIAS | TokenViT) -> None:
    backbone = model.backbone
    plain = sincos_positions(backbone.grid, backbone.embed_dim, backbone.num_tokens)
    wrong = []
    if not torch.equal(backbone.pos_embed.cpu(), plain):
        wrong.append("its positions are not the sine-cosine ones of its own grid")
    if backbone.num_tokens > 2:
        wrong.append(f"it has {backbone.num_tokens} extra tokens")
    if isinstance(model, TokenViT) and model.mask_decoder is not None:
        wrong.append("its tokens have a mask decoder")
    if isinstance(model.mask_decoder, PixelDecoder):
        wrong.append("it decodes pixels")
    if isinstance(model, DEVIAS):
        update = model.slot_attention.updates[0]
        if update.key_normalization != "l1":
            wrong.append(f"key_normalization is {update.key_normalization!r}, not 'l1'")
        if update.softmax_dim != -2:
            wrong.append("softmax_axis is 'keys', not 'slots'")
        if update.num_heads != RELEASED_SLOT_HEADS:
            wrong.append(f"slot attention has {update.num_heads} heads, not {RELEASED_SLOT_HEADS}")
    if wrong:
        raise WeightsError(f"the released code cannot compute this model: {'; '.join(wrong)}")
