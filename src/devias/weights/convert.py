"""The state dicts of others, in this package's parameter names.

Which format a state dict has is read off its own names; file names and wrappers play no part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from devias.models.backbone import Grid
from devias.weights.read import WeightFile, WeightsError

State = dict[str, Tensor]
Rules = list[tuple[str, str]]
"""Pairs of names, `#` for an index; they also match followed by `.weight` or `.bias`."""

OURS = (
    "backbone.",
    "slot_attention.",
    "head.",
    "mask_decoder.",
    "segmentation_decoder.",
    "fc_norm.",
)
"""How the parameter names of `DEVIAS` and `TokenViT` begin."""

RELEASED_SLOT_HEADS = 4
"""The released slot attention has 4 heads, whatever its width."""

VIT: Rules = [
    ("patch_embed.proj", "backbone.patch_embed.proj"),
    *(
        (f"blocks.#.{layer}", f"backbone.blocks.#.{layer}")
        for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    ),
    ("norm", "backbone.norm"),
    ("pos_embed", "backbone.pos_embed"),
    ("tokens", "backbone.tokens"),
    ("fc_norm", "fc_norm"),
    ("head", "head.fc"),
]
"""timm's ViTs and VideoMAE's, and so the released DEVIAS as far as it is one."""

RELEASED: Rules = [
    *VIT,
    ("agg_block.latents", "slot_attention.slots"),
    ("agg_block.layers.#.0.norm", "slot_attention.updates.#.norm_slots"),
    ("agg_block.layers.#.0.norm_context", "slot_attention.norm_tokens.#"),
    ("agg_block.layers.#.0.fn.to_q", "slot_attention.updates.#.to_q"),
    ("agg_block.layers.#.0.fn.to_k", "slot_attention.updates.#.to_k"),
    ("agg_block.layers.#.0.fn.to_v", "slot_attention.updates.#.to_v"),
    ("agg_block.layers.#.0.fn.to_out.0", "slot_attention.updates.#.to_out.0"),
    ("agg_block.layers.#.2.norm", "slot_attention.updates.#.norm_mlp"),
    ("agg_block.layers.#.2.fn.net.0", "slot_attention.updates.#.mlp.0"),
    ("agg_block.layers.#.2.fn.net.3", "slot_attention.updates.#.mlp.3"),
    ("agg_block.last_layer.0", "slot_attention.norm"),
    ("mask_predictor.decoder.#", "mask_decoder.layers.#"),
]

SEPARATE_HEADS: Rules = [
    *(rule for rule in VIT if rule[0] != "head"),
    ("head", "head.action"),
    ("scene_head", "head.scene"),
]

HUGGING_FACE: Rules = [
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("encoder.layer.#.layernorm_before", "blocks.#.norm1"),
    ("encoder.layer.#.attention.attention.query", "blocks.#.attn.q"),
    ("encoder.layer.#.attention.attention.key", "blocks.#.attn.k"),
    ("encoder.layer.#.attention.attention.value", "blocks.#.attn.v"),
    ("encoder.layer.#.attention.attention.q_bias", "blocks.#.attn.q_bias"),
    ("encoder.layer.#.attention.attention.v_bias", "blocks.#.attn.v_bias"),
    ("encoder.layer.#.attention.output.dense", "blocks.#.attn.proj"),
    ("encoder.layer.#.layernorm_after", "blocks.#.norm2"),
    ("encoder.layer.#.intermediate.dense", "blocks.#.mlp.fc1"),
    ("encoder.layer.#.output.dense", "blocks.#.mlp.fc2"),
    ("layernorm", "norm"),
    ("fc_norm", "fc_norm"),
    ("classifier", "head"),
]


@dataclass
class Weights:
    """Weights in this package's names, whatever they were before."""

    state: State
    """By the parameter names of `DEVIAS` or `TokenViT`."""
    format: str
    """What they were recognised as."""
    ignored: list[str] = field(default_factory=list)
    """Names of what this package has no use for."""
    tubelets: int | None = None
    """T' of the clips they were trained on, where it is known."""
    patches: tuple[int, int] | None = None
    """Rows and columns of patches of those clips, where they are known."""
    iterations: int | None = None
    """Rounds of slot attention, where the names say; tied rounds are kept once."""
    settings: dict[str, Any] = field(default_factory=dict)
    """As in `WeightFile`."""
    architecture: dict[str, Any] | None = None
    """As in `WeightFile`."""
    source: str = "weights"
    """Where they were read from, for messages."""

    @property
    def grid(self) -> Grid | None:
        """The tokens they were trained on, where they are known."""
        return (self.tubelets, *self.patches) if self.tubelets and self.patches else None


def convert(file: WeightFile) -> Weights:
    """Recognise the format and rename.

    Raises:
        WeightsError: it is no ViT of a known format, or one with layers this package lacks, or
            one of which parts are missing.
    """
    tensors = strip_wrappers(file.tensors)
    extra: dict[str, Any] = {"settings": file.settings, "architecture": file.architecture}
    if "backbone.patch_embed.proj.weight" in tensors:
        state = {name: value for name, value in tensors.items() if name.startswith(OURS)}
        ignored = [name for name in tensors if name not in state]
        return Weights(state, "this package", ignored, *_trained_on(state, file), **extra)

    tensors, label, ignored = _as_vit(tensors)
    ignored += _drop_unused(tensors)
    rules = SEPARATE_HEADS if "scene_head.weight" in tensors else RELEASED
    _join_tokens(tensors)
    _fold_layer_scale(tensors)
    _fuse_qkv(tensors)
    state, left = rename(tensors, rules)
    unknown = [name for name in left if name.startswith(("blocks.", "agg_block.layers."))]
    if unknown:
        raise WeightsError(f"the {label} has layers this package lacks: {some(unknown)}")
    iterations = _keep_tied_once(state)
    return Weights(state, label, ignored + left, *_trained_on(state, file), iterations, **extra)


def rename(tensors: State, rules: Rules) -> tuple[State, list[str]]:
    """Apply the first rule that matches each name → renamed tensors, names none matched."""
    compiled = [
        (re.compile(re.escape(old).replace(r"\#", r"(\d+)") + r"(\.weight|\.bias)?"), new)
        for old, new in rules
    ]
    renamed, left = {}, []
    for name, tensor in tensors.items():
        for pattern, new in compiled:
            if match := pattern.fullmatch(name):
                *index, leaf = match.groups(default="")
                renamed[new.replace("#", "".join(index)) + leaf] = tensor
                break
        else:
            left.append(name)
    return renamed, left


def strip_wrappers(tensors: State) -> State:
    """Drop what DistributedDataParallel, `torch.compile` and a LightningModule put before names."""
    for prefix in ("module.", "model."):
        if any(name.startswith(prefix) for name in tensors):
            # A LightningModule's other parts, its metrics for one, are no part of the model.
            tensors = {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
    return {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few of many names."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _as_vit(tensors: State) -> tuple[State, str, list[str]]:
    """Bring any format to timm's names → tensors, what it is, names left out."""
    if "encoder.patch_embed.proj.weight" in tensors:
        inside = [name for name in tensors if name.startswith("encoder.")]
        encoder = {name.removeprefix("encoder."): tensors[name] for name in inside}
        outside = [name for name in tensors if name not in inside]
        return encoder, "VideoMAE pretraining release", outside
    plain = {name.removeprefix("videomae."): tensor for name, tensor in tensors.items()}
    if "embeddings.patch_embeddings.projection.weight" in plain:
        renamed, left = rename(plain, HUGGING_FACE)
        return renamed, "Hugging Face VideoMAE", left
    kernel = tensors.get("patch_embed.proj.weight")
    if kernel is None:
        raise WeightsError(
            "these are no weights of a known format (DEVIAS, its scene model, VideoMAE, Hugging "
            f"Face VideoMAE, timm ViT): there is no patch embedding among {some(tensors)}"
        )
    if kernel.ndim == 4:
        label = "timm image ViT"
    elif _has_slots(tensors):
        label = "released DEVIAS"
    elif "scene_token" in tensors:
        label = "released two-token model"
    elif "cls_token" in tensors:
        label = "released scene model"
    elif "fc_norm.weight" in tensors:
        label = "VideoMAE fine-tuned release"
    else:
        label = "video ViT"
    return dict(tensors), label, []


def _has_slots(tensors: State) -> bool:
    return any(name.startswith("agg_block.") for name in tensors)


def _drop_unused(tensors: State) -> list[str]:
    """Remove what the released code may build but not run → their names.

    Its DEVIAS reads slots, so tokens, a pooled norm and a second head stand idle; a model that
    reads tokens has its norm before them.
    """
    unused: tuple[str, ...] = ()
    if _has_slots(tensors):
        unused = ("cls_token", "scene_token", "fc_norm.", "scene_head.")
    elif "cls_token" in tensors and "norm.weight" in tensors:
        unused = ("fc_norm.",)
    names = [name for name in tensors if name.startswith(unused)]
    for name in names:
        del tensors[name]
    return names


def _join_tokens(tensors: State) -> None:
    found = [tensors.pop(name) for name in ("cls_token", "scene_token") if name in tensors]
    if found:
        tensors["tokens"] = torch.cat(found, dim=1)


def _fold_layer_scale(tensors: State) -> None:
    """Multiply a layer scale (timm's `ls1.gamma`, VideoMAE's `gamma_1`) into the layer before."""
    for name in list(tensors):
        match = re.fullmatch(r"(blocks\.\d+\.)(?:ls([12])\.gamma|gamma_([12]))", name)
        if match:
            gamma = tensors.pop(name)
            layer = match[1] + ("attn.proj" if "1" in match.groups() else "mlp.fc2")
            tensors[f"{layer}.weight"] = gamma[:, None] * tensors[f"{layer}.weight"]
            tensors[f"{layer}.bias"] = gamma * tensors[f"{layer}.bias"]


def _fuse_qkv(tensors: State) -> None:
    """Join what is split: q, k and v, or only their biases, of which VideoMAE has none for k.

    Raises:
        WeightsError: q has a bias and v has none, or the other way round.
    """
    matches = (re.match(r"blocks\.\d+\.attn\.", name) for name in tensors)
    layers = sorted({match[0] for match in matches if match})
    for layer in layers:
        names = [f"{layer}{x}.weight" for x in "qkv"]
        if all(name in tensors for name in names):
            tensors[f"{layer}qkv.weight"] = torch.cat([tensors.pop(name) for name in names])
        bias = {x: tensors.pop(f"{layer}{x}.bias", None) for x in "qkv"}
        bias |= {x: tensors.pop(f"{layer}{x}_bias", bias[x]) for x in "qv"}
        q, k, v = bias.values()
        if q is not None and v is not None:
            k = torch.zeros_like(q) if k is None else k
            tensors[f"{layer}qkv.bias"] = torch.cat([q, k, v])
        elif q is not v:
            raise WeightsError(f"{layer}{'q' if q is None else 'v'}_bias is missing")
    if not any(f"{layer}qkv.bias" in tensors for layer in layers):  # a ViT built without
        for layer in layers:
            if f"{layer}qkv.weight" in tensors:
                weight = tensors[f"{layer}qkv.weight"]
                tensors[f"{layer}qkv.bias"] = weight.new_zeros(len(weight))


def _keep_tied_once(state: State) -> int | None:
    """Drop repetitions of tied rounds of slot attention → how many rounds there are.

    Raises:
        WeightsError: a round lacks what others have, or is missing altogether.
    """
    rounds: dict[int, State] = {}
    for name, tensor in state.items():
        match = re.match(r"slot_attention\.(updates|norm_tokens)\.(\d+)\.", name)
        if match:
            rounds.setdefault(int(match[2]), {})[f"{match[1]}.#.{name[match.end() :]}"] = tensor
    if not rounds:
        return None
    wanted = set().union(*rounds.values())
    for i in range(max(rounds) + 1):
        if missing := sorted(wanted - rounds.get(i, {}).keys()):
            raise WeightsError(
                f"round {i} of its slot attention lacks "
                f"{some(name.replace('#', str(i)) for name in missing)}"
            )
    if all(torch.equal(other[k], rounds[0][k]) for other in rounds.values() for k in wanted):
        repeated = re.compile(r"slot_attention\.(?:updates|norm_tokens)\.(?!0\.)")
        for name in [name for name in state if repeated.match(name)]:
            del state[name]
    return len(rounds)


def _trained_on(state: State, file: WeightFile) -> tuple[int | None, tuple[int, int] | None]:
    """Tubelets and (rows, columns) of the clips, as far as the file or its kind settles them."""
    if file.architecture:
        backbone = file.architecture.get("backbone", file.architecture)
        size, patch = backbone["image_size"], backbone["patch_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return backbone["num_frames"] // backbone["tubelet_size"], (height // patch, width // patch)
    kernel = tuple(state["backbone.patch_embed.proj.weight"].shape[2:])
    if len(kernel) != 3 or "backbone.pos_embed" in state:  # stored positions tell themselves
        return None, None
    frames = file.settings.get("num_frames")
    pixels = file.settings.get("image_size", file.settings.get("input_size"))
    if kernel == (2, 16, 16):  # all of VideoMAE and DEVIAS: 16 frames of 224²
        frames, pixels = frames or 16, pixels or 224
    side = pixels // kernel[1] if pixels else None
    decoder = [t for name, t in state.items() if name.startswith("mask_decoder.layers.")]
    if decoder:  # a decoded mask has as many values as a frame has patches
        side = math.isqrt(len(decoder[-1]))
    return frames // kernel[0] if frames else None, (side, side) if side else None
