"""Putting weights from elsewhere into a backbone or a whole model, with an account of it."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from devias.models.backbone import Grid, VideoViT, interpolate_positions, sincos_positions
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.transfer import TransferModel
from devias.weights.convert import State, Weights, convert
from devias.weights.errors import WeightsError, some
from devias.weights.read import read

log = logging.getLogger(__name__)

MAY_BE_NEW = {"pos_embed", "tokens", "norm.weight", "norm.bias"}
"""What a backbone may keep as it was built: sine-cosine positions, extra tokens, and the final norm
that mean-pooling models have elsewhere."""


@dataclass
class LoadReport:
    """What became of every parameter; `str()` gives a summary for the log."""

    source: str
    format: str
    loaded: list[str] = field(default_factory=list)
    """Parameters of the model that were taken over."""
    new: list[str] = field(default_factory=list)
    """Parameters of the model that keep their initial values."""
    ignored: list[str] = field(default_factory=list)
    """What the model has no use for."""
    notes: list[str] = field(default_factory=list)
    """What was changed on the way."""

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} parameters loaded"]
        for what, names in (("new", self.new), ("ignored", self.ignored)):
            if names:
                tops = Counter(name.partition(".")[0] for name in names)
                listed = ", ".join(f"{top} ({count})" for top, count in tops.items())
                parts.append(f"{len(names)} {what}: {listed}")
        return "; ".join([f"{self.source} ({self.format}): {parts[0]}", *parts[1:], *self.notes])


def read_weights(source: str | Path) -> Weights:
    """Read and recognize a weight file, a Hugging Face folder or hub id, or `package:NAME`.

    Raises:
        MissingWeightsError: there is nothing of that name.
        WeightsError: it cannot be read, or is of no known format.
    """
    file = read(source)
    try:
        weights = convert(file)
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from error
    weights.source = str(source)
    return weights


def video_vit(weights: str | Path | None = None, **arguments: Any) -> VideoViT:
    """A `VideoViT` of these arguments that starts from `weights`, where some are given."""
    backbone = VideoViT(**arguments)
    if weights:
        log.info("%s", load_backbone(backbone, weights))
    return backbone


def load_backbone(
    backbone: VideoViT, source: str | Path | Weights, strict: bool = True
) -> LoadReport:
    """Take a backbone's weights from any supported format.

    An image ViT's patch embedding is inflated over time; positions are resampled where the source
    was trained on another number of frames or pixels.

    Args:
        backbone: changed in place.
        source: where from.
        strict: refuse a source that has more blocks than the backbone.

    Raises:
        MissingWeightsError: there is no such source.
        WeightsError: it cannot be read, or does not fill the embedding and every block.
    """
    weights = source if isinstance(source, Weights) else read_weights(source)
    report = LoadReport(
        weights.source, weights.format, ignored=list(weights.ignored), notes=list(weights.notes)
    )
    state = {}
    for name, tensor in weights.state.items():
        if name.startswith("backbone."):
            state[name.removeprefix("backbone.")] = tensor
        else:
            report.ignored.append(name)
    _fit_positions(state, backbone, weights, report)
    _fit_embedding(state, backbone, report)
    _fit_tokens(state, backbone, report)

    expected = backbone.state_dict()
    needed = {k: t for k, t in expected.items() if k in state or k not in MAY_BE_NEW}
    problems = _differences(state, needed)
    blocks = [name for name in state if name.startswith("blocks.") and name not in expected]
    if strict and blocks:
        problems.append(f"it has blocks the backbone lacks: {some(blocks)}")
    if problems:
        raise WeightsError(
            f"{weights.source} ({weights.format}) does not fit the backbone, parts of which would "
            f"stay random: {some(problems)}"
        )
    backbone.load_state_dict({k: t for k, t in state.items() if k in expected}, strict=False)
    report.ignored += [f"backbone.{name}" for name in state if name not in expected]
    for name in expected:
        (report.loaded if name in state else report.new).append(name)
    return report


def load_weights(
    model: DEVIAS | TokenViT | TransferModel, source: str | Path | Weights, strict: bool = True
) -> LoadReport:
    """Take the weights of a whole model from any supported format.

    Args:
        model: changed in place.
        source: where from.
        strict: refuse a source that lacks a part of the model or whose part differs in size, as a
            head of other classes; otherwise such a part, the backbone excepted, stays new.

    Raises:
        MissingWeightsError: there is no such source.
        WeightsError: it cannot be read or does not fit.
    """
    weights = source if isinstance(source, Weights) else read_weights(source)
    report = load_backbone(model.backbone, weights, strict)
    report.loaded = [f"backbone.{name}" for name in report.loaded]
    report.new = [f"backbone.{name}" for name in report.new]
    missing = [name for name in report.new if name != "backbone.pos_embed"]
    if strict and missing:
        raise WeightsError(f"{weights.source} ({weights.format}) lacks {some(missing)}")

    for part_name, part in _parts(model).items():
        expected = part.state_dict()
        names = [name for name in weights.state if name.startswith(f"{part_name}.")]
        state = {name.removeprefix(f"{part_name}."): weights.state[name] for name in names}
        if part_name == "slot_attention":
            _untie(state, expected)
        problems = _differences(state, expected)
        problems += [f"{name} is not in the model" for name in state if name not in expected]
        if problems and strict and expected:
            raise WeightsError(
                f"{weights.source} ({weights.format}) does not fit the model's {part_name}: "
                f"{some(problems)}"
            )
        if not problems:
            part.load_state_dict(state)
            report.ignored = [name for name in report.ignored if name not in names]
        (report.new if problems else report.loaded).extend(f"{part_name}.{n}" for n in expected)
    return report


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a model beside its backbone; those of a transferred model's source are its."""
    parts = dict(model.named_children())
    source = parts.pop("source", None)
    parts |= {} if source is None else _parts(source)
    return {name: part for name, part in parts.items() if name != "backbone"}


def _differences(state: State, expected: State) -> list[str]:
    """What keeps `state` from filling all of `expected`."""
    problems = []
    for name, tensor in expected.items():
        if name not in state:
            problems.append(f"{name} is missing")
        elif state[name].shape != tensor.shape:
            sizes = f"{list(state[name].shape)} instead of {list(tensor.shape)}"
            problems.append(f"{name} is {sizes}")
    return problems


def _fit_embedding(state: State, backbone: VideoViT, report: LoadReport) -> None:
    """Inflate an image kernel `[D, 3, p, p]` over time; a still clip is embedded as the image."""
    kernel = state.get("patch_embed.proj.weight")
    if kernel is not None and kernel.ndim == 4:
        frames = backbone.patch_embed.proj.kernel_size[0]
        inflated = kernel[:, :, None].expand(-1, -1, frames, -1, -1) / frames
        state["patch_embed.proj.weight"] = inflated
        report.notes.append(f"patch embedding inflated over {frames} frames")


def _fit_positions(state: State, backbone: VideoViT, weights: Weights, report: LoadReport) -> None:
    """Resample the source's positions for the backbone's grid; leave ours where they agree."""
    positions = state.pop("pos_embed", None)
    extra = source_extra = backbone.num_tokens
    grid = weights.grid
    if positions is None:  # sine-cosine ones, which are not stored
        if grid is None or grid == backbone.grid:
            return
        positions = sincos_positions(grid, backbone.embed_dim, extra)
    else:
        grid, source_extra = _layout(positions, state, backbone, weights)
        if grid is None:
            report.notes.append(f"its {positions.shape[1]} positions left out, their grid unknown")
            return
    if positions.shape[::2] != (1, backbone.embed_dim):
        return  # refused for its width by the caller, with all else
    patches = interpolate_positions(positions[:, source_extra:].float(), grid, backbone.grid)
    tokens = (positions if source_extra == extra else backbone.pos_embed)[:, :extra]
    state["pos_embed"] = torch.cat([tokens.to(patches), patches], dim=1)
    if grid != backbone.grid:
        sizes = ("×".join(map(str, size)) for size in (grid, backbone.grid))
        report.notes.append("positions interpolated from {} to {}".format(*sizes))


def _layout(
    positions: Tensor, state: State, backbone: VideoViT, weights: Weights
) -> tuple[Grid | None, int]:
    """The grid of stored positions `[1, n + N, D]` and how many, n, belong to extra tokens."""
    count = positions.shape[1]
    extra = state["tokens"].shape[1] if "tokens" in state else 0
    if weights.grid:
        extra = count - math.prod(weights.grid)
        if extra < 0:
            sizes = "×".join(map(str, weights.grid))
            raise WeightsError(f"{weights.source} has {count} positions for {sizes} tokens")
        return weights.grid, extra
    is_image = state["patch_embed.proj.weight"].ndim == 4
    if count - extra == math.prod(backbone.grid) and not is_image:
        return backbone.grid, extra
    frames = 1 if is_image else backbone.grid[0]
    for tokens in (extra, 0):  # some image ViTs give their tokens no position
        side = math.isqrt(max(count - tokens, 0) // frames)
        if frames * side**2 == count - tokens > 0:
            return (frames, side, side), tokens
    return None, extra


def _fit_tokens(state: State, backbone: VideoViT, report: LoadReport) -> None:
    """Leave out extra tokens the backbone has not, or not as many of."""
    if "tokens" in state and state["tokens"].shape[1] != backbone.num_tokens:
        del state["tokens"]
        report.ignored.append("backbone.tokens")


def _untie(state: State, expected: State) -> None:
    """Repeat tied rounds of slot attention for a model that has weights for each."""
    if any(re.match(r"(updates|norm_tokens)\.(?!0\.)", name) for name in state):
        return
    for name in expected:
        module, _, rest = name.partition(".")
        first = f"{module}.0.{rest.partition('.')[2]}"
        if module in ("updates", "norm_tokens") and name not in state and first in state:
            state[name] = state[first]
