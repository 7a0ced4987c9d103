"""The state dicts of others, in this package's parameter names.

Which format a state dict has is read off its own names; file names and wrappers play no part.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from devias.models.architecture import build
from devias.models.backbone import Grid, VideoViT
from devias.weights.errors import WeightsError, some
from devias.weights.read import ARCHITECTURE, WeightFile

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
    "classifier.",
)
"""How the parameter names of `DEVIAS` and `TokenViT` begin, and that of a `TransferModel`'s own."""

FORMER_NAMES = {
    "silhouette_decoder": "segmentation_decoder",
    "SilhouetteDecoder": "SegmentationDecoder",
}
"""Parts and classes that our own files of before 0.2 know by another name."""

EMBEDDING = "patch_embed.proj.weight"
HUGGING_FACE_EMBEDDING = "embeddings.patch_embeddings.projection.weight"
"""The parameters by which a ViT is found, whatever is written before their names."""

TRANSPARENT = re.compile(
    r"(?<![^.])(module|_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module|"
    r"source)\."
)
"""What parallel, compiled and checkpointed modules put before names, or amid them; and what a
`TransferModel` puts before those of the model that it holds."""

KNOWN_PREFIX = re.compile(r"((model|net|network|backbone|encoder|videomae|vit|student)\.)*")
AVERAGED_PREFIX = re.compile(r"ema|averag|teacher|momentum|target", re.IGNORECASE)
"""Where a ViT stands in what was trained; and where the average of one, a second choice."""

FOREIGN = re.compile(
    r"backbone\.(cls_token|scene_token|(head|fc_norm|agg_block|mask_predictor)\.|"
    r"blocks\.\d+\.(attn\.[qv]_bias|attn\.[qkv]\.|gamma_|ls\d))"
)
"""Parameters that no backbone of ours has: a whole ViT of others is called `backbone` there."""

MOST_TOKENS = 2**16
"""Of a clip; ten times those of 16 frames of 512²."""

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
    """What they were recognized as."""
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
    notes: list[str] = field(default_factory=list)
    """As in `WeightFile`."""
    source: str = "weights"
    """Where they were read from, for messages."""

    @property
    def grid(self) -> Grid | None:
        """The tokens they were trained on, where they are known."""
        return (self.tubelets, *self.patches) if self.tubelets and self.patches else None


def convert(file: WeightFile) -> Weights:
    """Recognize the format and rename.

    Raises:
        WeightsError: it is no ViT of a known format, or one with layers this package lacks, or
            one of which parts are missing.
    """
    tensors, notes = strip_wrappers(file.tensors)
    architecture = None if file.architecture is None else _renamed(file.architecture)
    file = replace(file, architecture=architecture)
    extra: dict[str, Any] = {
        "settings": file.settings,
        "architecture": architecture,
        "notes": file.notes + notes,
    }
    if f"backbone.{EMBEDDING}" in tensors and not any(map(FOREIGN.match, tensors)):
        tensors = _renamed(tensors)
        state = {name: value for name, value in tensors.items() if name.startswith(OURS)}
        ignored = [name for name in tensors if name not in state]
        _check_ranks(state)
        return Weights(state, "this package", ignored, *_trained_on(state, file), **extra)

    tensors, label, ignored = _as_vit(tensors)
    ignored += _drop_unused(tensors)
    rules = SEPARATE_HEADS if "scene_head.weight" in tensors else RELEASED
    try:
        _join_tokens(tensors)
        _fold_layer_scale(tensors)
        _fuse_qkv(tensors)
    except (RuntimeError, IndexError) as error:  # PyTorch's, of shapes
        raise WeightsError(f"parts of the {label} do not fit each other: {error}") from error
    state, left = rename(tensors, rules)
    _check_ranks(state)
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


def strip_wrappers(tensors: State) -> tuple[State, list[str]]:
    """Drop what training codes put before the names of a ViT, in whatever order and nesting.

    A LightningModule's other parts, its metrics for one, are no part of the model and left out.

    Returns:
        The tensors, and what is to be told of the choice where there are several ViTs.

    Raises:
        WeightsError: several ViTs with nothing to choose by; or two tensors of one name.
    """
    bare = {TRANSPARENT.sub("", name): tensor for name, tensor in tensors.items()}
    if len(bare) != len(tensors):
        twice = Counter(TRANSPARENT.sub("", name) for name in tensors).most_common(1)[0][0]
        raise WeightsError(f"they hold {some([twice])} twice, plainly and below a wrapper")
    endings = (EMBEDDING, HUGGING_FACE_EMBEDDING)
    found = [
        name.removesuffix(ending)
        for name in bare
        for ending in endings
        if name == ending or name.endswith(f".{ending}")
    ]
    if not found:
        return bare, []
    rank = {
        prefix: (bool(AVERAGED_PREFIX.search(prefix)), not KNOWN_PREFIX.fullmatch(prefix))
        for prefix in found
    }
    prefix, *others = sorted(found, key=lambda prefix: (rank[prefix], prefix.count(".")))
    if rank[prefix][1] and any(rank[other] == rank[prefix] for other in others):
        raise WeightsError(f"they hold several ViTs, below {some(found)}: save one alone")
    notes = [f"taken from {prefix!r}, not from {some(others)}"] if others else []
    outer = re.sub(r"(?<![^.])(backbone|encoder|videomae)\.$", "", prefix)
    inside = {n.removeprefix(outer): t for n, t in bare.items() if n.startswith(outer)}
    return inside, notes


Named = TypeVar("Named")


def _renamed(described: dict[str, Named]) -> dict[str, Named]:
    """A description or state dict of ours, its parts and their classes by their present names."""
    renamed: dict[str, Any] = {}
    for name, value in described.items():
        first, dot, rest = str(name).partition(".")
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            value = value | {"type": FORMER_NAMES.get(value["type"], value["type"])}  # type: ignore[assignment]
        renamed[FORMER_NAMES.get(first, first) + dot + rest] = value
    return renamed


def _check_ranks(state: State) -> None:
    """Refuse tensors with too few or many axes for what they are called; sizes are seen later.

    Raises:
        WeightsError: one has.
    """
    axes: dict[str, tuple[int, ...]]
    axes = {"backbone.pos_embed": (3,), "backbone.tokens": (3,), "slot_attention.slots": (2,)}
    axes[f"backbone.{EMBEDDING}"] = (4, 5)
    axes["classifier.emphasis_logit"] = (1,)
    for name, tensor in state.items():
        parts = name.split(".")
        is_norm = any("norm" in part for part in parts[:-1])
        default = (1,) if is_norm or parts[-1] == "bias" else (2,)
        if tensor.ndim not in axes.get(name, default) or not all(tensor.shape):
            raise WeightsError(f"{some([name])} has the shape {list(tensor.shape)}")


def _as_vit(tensors: State) -> tuple[State, str, list[str]]:
    """Bring any format to timm's names → tensors, what it is, names left out."""
    for prefix, kind in (("encoder.", "VideoMAE pretraining release"), ("backbone.", None)):
        if f"{prefix}{EMBEDDING}" in tensors:
            inside = [name for name in tensors if name.startswith(prefix)]
            encoder, label, ignored = _as_vit({n.removeprefix(prefix): tensors[n] for n in inside})
            outside = [name for name in tensors if not name.startswith(prefix)]
            return encoder, kind or label, ignored + outside
    plain = {name.removeprefix("videomae."): tensor for name, tensor in tensors.items()}
    if HUGGING_FACE_EMBEDDING in plain:
        renamed, left = rename(plain, HUGGING_FACE)
        return renamed, "Hugging Face VideoMAE", left
    kernel = tensors.get(EMBEDDING)
    if kernel is None:
        raise WeightsError(
            "these are no weights of a known format (DEVIAS, its scene model, VideoMAE, Hugging "
            f"Face VideoMAE, timm ViT): there is no patch embedding among {some(tensors, most=9)}"
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
            for leaf in ("weight", "bias"):
                if (tensor := tensors.get(f"{layer}.{leaf}")) is not None:
                    scale = gamma.unflatten(0, (-1, *[1] * (tensor.ndim - 1)))
                    tensors[f"{layer}.{leaf}"] = scale.expand_as(tensor) * tensor


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
    """Tubelets and (rows, columns) of the clips, as far as the file or its kind settles them.

    Raises:
        WeightsError: the file's description or settings make no sense.
    """
    if file.architecture is not None:
        grid = described(file.architecture).grid
        return grid[0], grid[1:]
    kernel = tuple(state[f"backbone.{EMBEDDING}"].shape[2:])
    if len(kernel) != 3 or "backbone.pos_embed" in state:  # stored positions tell themselves
        return None, None
    frames = count(file.settings, "num_frames")
    pixels = count(file.settings, "image_size") or count(file.settings, "input_size")
    if kernel == (2, 16, 16):  # all of VideoMAE and DEVIAS: 16 frames of 224²
        frames, pixels = frames or 16, pixels or 224
    side = pixels // kernel[1] if pixels else None
    decoder = [t for name, t in state.items() if name.startswith("mask_decoder.layers.")]
    if decoder:  # a decoded mask has as many values as a frame has patches
        side = math.isqrt(len(decoder[-1]))
    tubelets = frames // kernel[0] if frames else None
    if (tubelets or 1) * (side or 1) ** 2 > MOST_TOKENS:
        raise WeightsError(f"num_frames {frames} and image_size {pixels} are no clip's")
    return tubelets, (side, side) if side else None


def count(settings: Mapping[str, Any], name: str) -> int | None:
    """A whole positive number among a file's settings; `None` where it is not given.

    Raises:
        WeightsError: it is something else.
    """
    value = settings.get(name)
    if value is None or (type(value) is int and value > 0):
        return value
    raise WeightsError(f"its setting {name} must be a whole number above 0, not {some([value])}")


def described(architecture: Mapping[str, Any]) -> VideoViT:
    """The backbone that a file says it is of, without memory for its parameters.

    Raises:
        WeightsError: the description is not one of ours.
    """
    try:
        with torch.device("meta"):
            model = build(architecture)
    except ValueError as error:
        raise WeightsError(f"its {ARCHITECTURE} describes no model: {error}") from error
    backbone = getattr(model, "backbone", model)
    if not isinstance(backbone, VideoViT):
        raise WeightsError(f"its {ARCHITECTURE} describes a {type(model).__name__}, no whole model")
    if math.prod(backbone.grid) > MOST_TOKENS:
        raise WeightsError(f"its {ARCHITECTURE} describes clips of over {MOST_TOKENS} tokens")
    return backbone
